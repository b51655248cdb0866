"""The production shape is checked for form, since no container engine runs here (decision 46); its SQL is run."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Environment, Settings, load_settings
from db import cluster
from db.connections import connections, examine, prepare_roles
from db.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[1]
_VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, rest in (line.split(" ", 1) for line in lines)]


def test_three_parts_and_a_step_that_migrates(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"postgres", "nats", "migrate", "gateway"}
    assert set(compose["volumes"]) == {"postgres"}


@pytest.mark.parametrize("name", ["postgres", "nats", "gateway"])
def test_each_part_says_how_it_is(compose: dict[str, Any], name: str) -> None:
    check = compose["services"][name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)


def test_each_part_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["gateway"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "nats": {"condition": "service_healthy"},
    }
    assert services["migrate"]["restart"] == "no", "a step that ends is not started again"


def test_images_are_pinned_to_a_version(compose: dict[str, Any], instructions: list[tuple[str, str]]) -> None:
    images = [each["image"] for each in compose["services"].values()]
    images += [rest.split()[0] for word, rest in instructions if word == "FROM"]
    for image in images:
        name, _, tag = image.partition(":")
        assert tag, image
        assert tag != "latest", image
        assert "." not in name.split("/")[0], f"{image} names a registry"


def test_secrets_come_from_outside(compose: dict[str, Any]) -> None:
    """Every password and key is a variable without a default, and .env.example has a line for each variable."""
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text()
    for name, kind, _ in _VARIABLE.findall(text):
        assert re.search(rf"^(# )?{name}=", example, re.MULTILINE), name
        if re.search("PASSWORD|KEY", name):
            assert kind == "?", f"{name} must not have a default"
    for line in example.splitlines():
        assert re.fullmatch(r"#.*|\w+=|", line), f"a value in .env.example: {line}"
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET", name):
                assert value.startswith("${"), name


@pytest.mark.parametrize("name", ["migrate", "gateway"])
def test_what_the_parts_set_are_settings_that_can_be_used(
    compose: dict[str, Any], instructions: list[tuple[str, str]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in list(os.environ):
        if each.startswith("FLEETGRAPH_"):
            monkeypatch.delenv(each)
    values = dict(word.split("=", 1) for _, rest in instructions if _ == "ENV" for word in rest.split())
    values |= compose["services"][name]["environment"]
    for key, value in values.items():
        if key.startswith("FLEETGRAPH_"):
            assert key in Settings.__struct_encode_fields__, key
            filled = _VARIABLE.sub(lambda found: found[3] if found[2] == "-" else "https://given", str(value))
            monkeypatch.setenv(key, filled)
    settings = load_settings()
    assert settings.environment is Environment.PRODUCTION
    assert settings.database_url is not None
    if name == "gateway":
        assert "fleetgraph_gateway" in settings.database_url, "requests do not run as the owner"


def test_the_gateway_runs_with_no_more_rights_than_it_needs(
    compose: dict[str, Any], instructions: list[tuple[str, str]]
) -> None:
    gateway = compose["services"]["gateway"]
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]
    users = [rest for word, rest in instructions if word == "USER"]
    assert users == ["fleetgraph"]
    assert "ports" not in compose["services"]["postgres"]
    assert "ports" not in compose["services"]["nats"]


def test_the_image_is_made_of_what_is_here(instructions: list[tuple[str, str]]) -> None:
    copied = [rest.split() for word, rest in instructions if word == "COPY" and "--from" not in rest]
    assert copied
    for *sources, _ in copied:
        for source in sources:
            assert (ROOT / source).exists(), source
    runs = " ".join(rest for word, rest in instructions if word == "RUN")
    assert "--require-hashes -r requirements.lock" in runs
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", ".env", ".fleetgraph"} <= set(ignored)


def test_the_roles_of_the_image_are_those_that_the_gateway_expects(tmp_path: Path) -> None:
    """docker/roles.sh on a bare Postgres: afterwards nothing is left for an administrator, and nothing is too much."""
    settings = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}
    with EmbeddedPostgres(tmp_path / "data", settings=settings) as server:
        psql = str(cluster.programs() / "psql")
        superuser = server.url(database="postgres", user="postgres")
        bare = (
            "DROP DATABASE fleetgraph",
            "DROP ROLE fleetgraph_gateway, fleetgraph_platform, fleetgraph_owner",
        )
        for statement in bare:
            subprocess.run([psql, superuser, "-c", statement], check=True, capture_output=True)
        environment = {
            "PATH": f"{cluster.programs()}:{os.environ['PATH']}",
            "PGHOST": str(tmp_path / "data/postgres"),
            "FLEETGRAPH_OWNER_PASSWORD": "it's",
            "FLEETGRAPH_GATEWAY_PASSWORD": "quoted",
            "FLEETGRAPH_PLATFORM_PASSWORD": "well",
        }
        subprocess.run([str(ROOT / "docker/roles.sh")], check=True, env=environment, capture_output=True)
        asyncio.run(prepare_roles(server.url()))
        found = asyncio.run(
            connections(
                server.url(user="fleetgraph_gateway"),
                owner_url=server.url(),
                platform_url=server.url(user="fleetgraph_platform"),
            )
        )
        assert found.warnings == ()
        assert (found.gateway.role, found.platform.role) == (None, None)
        gateway = asyncio.run(examine(found.gateway.url))
        assert not gateway.unbound
        assert not gateway.may_be_platform
