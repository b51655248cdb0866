"""What tests of workflows share."""

from tests.app.execution.desk import desk, registry

__all__ = ["desk", "registry"]
