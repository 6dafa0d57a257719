"""The decision of a pass: `(Snapshot, Settings) -> Plan`. Pure: no clock, no IO, no memory.

health judges each node, guards say when no verdict is believed, scaling says how many should serve. draft is the plan
in the making, to which commands (the administrators'), lifecycle and leaving add steps. weights says what share of new
work each node gets.
"""

from controller.decide.lifecycle import decide

__all__ = ["decide"]
