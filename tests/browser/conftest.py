"""The fleets that browser tests share."""

from tests.fleets import fleet, own_fleet

__all__ = ["fleet", "own_fleet"]
