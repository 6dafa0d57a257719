"""What the operating system says and does for all the others: processes, files, ports. It knows nothing of printing."""
