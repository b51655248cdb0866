"""What a serving process has in its memory for as long as it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_UNWANTED = (
    "alembic",
    "httpx",
    "jinja2",
    "opentelemetry",
    "pydantic",
    "pygments",
    "rich",
    "typer",
)


def test_a_serving_process_does_without_what_only_other_commands_need() -> None:
    """Issue 6: what a worker never uses is not to be in its memory. The command itself is run, up to its settings."""
    program = (
        "import sys, app.cli\n"
        "sys.argv = ['fleetgraph', 'serve']\n"
        "try: app.cli.main()\n"
        "except SystemExit: pass\n"
        "from app.schema import schema; schema()\n"
        f"print('app.cli.serving' in sys.modules, *[name for name in {_UNWANTED!r} if name in sys.modules])"
    )
    environment = {**os.environ, "FLEETGRAPH_PORT": "none"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert "FLEETGRAPH_PORT: expected integer" in done.stderr
    assert done.stdout.split() == ["True"]


def test_a_worker_of_several_does_without_it_too(tmp_path: Path) -> None:
    """It is spawned by a command that has parsed its arguments, and runs the beginning of that command's script."""
    script = tmp_path / "fleetgraph.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from app.cli import main\n"
        "def worker():\n"
        "    from app.cli.serving import _work\n"
        "    try: _work(None, main)\n"
        "    except ValueError as error: print(error, file=sys.stderr)\n"
        "    from app.schema import schema; schema()\n"
        f"    print('app.cli.serving' in sys.modules, *[name for name in {_UNWANTED!r} if name in sys.modules])\n"
        "if __name__ == '__main__':\n"
        "    import app.cli.commands\n"
        "    spawned = multiprocessing.get_context('spawn').Process(target=worker)\n"
        "    spawned.start(); spawned.join()\n"
    )
    environment = {**os.environ, "FLEETGRAPH_PORT": "none", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=environment)
    assert "FLEETGRAPH_PORT: expected integer" in done.stderr
    assert done.stdout.split() == ["True"]
