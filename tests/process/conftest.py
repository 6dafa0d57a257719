"""The fleets that process tests share."""

from tests.fleets import fleet, own_fleet

__all__ = ["fleet", "own_fleet"]
