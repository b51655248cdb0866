"""Fixtures of the gateway's own tests."""

from tests.governed import registry

__all__ = ["registry"]
