"""The fleet in simulated time: the same `decide`, another world. Nothing here touches a fleet that runs."""
