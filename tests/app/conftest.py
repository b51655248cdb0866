"""Fixtures of the gateway's own tests."""

from tests.declared import declare, declare_brief
from tests.governed import registry
from tests.meeting import patient

__all__ = ["declare", "declare_brief", "patient", "registry"]
