"""What can go wrong when a print server is asked something.

ProbeError
├── Unreachable     no connection, or it broke
├── Overdue         no answer within the deadline (the server may be stopped, or drowned in work)
├── Refused         the server answered, and the answer is no; `status` is the IPP status code
└── Unintelligible  what came back is not IPP
"""

from __future__ import annotations


class ProbeError(Exception):
    """Any failure; the message is one readable sentence."""


class Unreachable(ProbeError):
    pass


class Overdue(ProbeError):
    pass


class Refused(ProbeError):
    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Unintelligible(ProbeError):
    pass
