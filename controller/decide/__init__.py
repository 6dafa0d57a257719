"""The decision of a pass: `(Snapshot, Settings) -> Plan`. Pure: no clock, no IO, no memory.

health judges each node, scaling says how many should serve, lifecycle turns both and the administrators' commands
into steps, weights says what share of new work each node gets.
"""

from controller.decide.lifecycle import decide

__all__ = ["decide"]
