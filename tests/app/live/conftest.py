"""What the tests of live data share."""

from tests.governed import registry

__all__ = ["registry"]
