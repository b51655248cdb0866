"""The npm packages of the tests: installed from the committed lock when a test first asks for them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.http import graphiql_build

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Node:
    """A Node that finds the packages, when it runs a script of this directory."""

    program: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1,localhost"}


def installed() -> Node:
    """Node, with the packages installed. Skips the test, with the reason, only where npm cannot install."""
    try:
        node = graphiql_build._find_node()
    except graphiql_build._BuildError as problem:
        pytest.skip(f"the npm packages cannot be installed: {problem}")
    made = Node(node.program)
    pinned = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    mark = HERE / "node_modules" / ".installed"
    with (HERE / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # tests run in several processes
        if mark.is_file() and mark.read_text() == pinned:
            return made
        command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=HERE, env=made.environment, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install the packages: {done.stderr.strip()[-500:]}")
        mark.write_text(pinned)
    return made
