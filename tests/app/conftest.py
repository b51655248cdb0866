"""Fixtures of the gateway's own tests."""

from tests.declared import declare
from tests.governed import registry

__all__ = ["declare", "registry"]
