"""Numbers and durations as people say them."""

from __future__ import annotations

import re

HOUR, DAY = 3600.0, 86400.0


def counted(number: int, one: str) -> str:
    """`3 jobs`, `1 job`, `no jobs`."""
    return f"{number or 'no'} {one}{'' if number == 1 else 's'}"


def lasting(seconds: float) -> str:
    """A duration in the largest unit that says enough: 45 s, 3 min, 2 h, 4 days."""
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR:.0f} h" if seconds < 48 * HOUR else f"{seconds / DAY:.0f} days"


def capital(text: str) -> str:
    """With a capital, unless it begins with a name or an address."""
    return text[:1].upper() + text[1:] if re.match(r"[a-z]+( |$)", text) else text
