"""What a serving process has in its memory for as long as it runs."""

from __future__ import annotations

import subprocess
import sys

_UNWANTED = ("alembic", "httpx", "jinja2", "opentelemetry", "pygments", "rich")


def test_a_serving_process_does_without_what_only_other_commands_need() -> None:
    """Issue 6: what a worker never uses is not to be in its memory."""
    program = (
        "import sys, app.cli, app.cli.serving; from app.schema import schema; schema(); "
        f"print(*[name for name in {_UNWANTED!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
