"""Fleetgraph: one GraphQL gateway over a fleet of AI agents."""

import sys

if "rich" not in sys.modules:
    # structlog looks whether rich is there, for tracebacks in colours, which the gateway does not write; and with it
    # come five megabytes of every process. None is how Python says that there is no such module.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
