"""Settings: read from the environment, refused with a reason, documented."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import inspect, structs

from app.settings import DoorbellKind, Environment, Settings, SettingsError, load_settings, unknown_variables
from app.settings_page import meaning, settings_markdown


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FLEETGRAPH_"):
            monkeypatch.delenv(name)


def test_defaults_serve_on_this_machine_alone() -> None:
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.data_dir == Path(".fleetgraph")
    assert settings.database_url is None
    assert settings.environment is Environment.DEVELOPMENT
    assert not settings.production


def test_every_setting_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETGRAPH_PORT", "8123")
    monkeypatch.setenv("FLEETGRAPH_OIDC_ALGORITHMS", "RS256, EdDSA")
    monkeypatch.setenv("FLEETGRAPH_ALLOWED_ORIGINS", "https://a.example")
    monkeypatch.setenv("FLEETGRAPH_NATS_URL", "")
    settings = load_settings()
    assert settings.port == 8123
    assert settings.oidc_algorithms == ("RS256", "EdDSA")
    assert settings.allowed_origins == ("https://a.example",)
    assert settings.nats_url is None, "an empty variable is no setting"


@pytest.mark.parametrize(
    "url",
    ["postgres://u:p@h:1/d", "postgresql://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d"],
)
def test_a_database_address_may_be_spelt_in_each_usual_way(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("FLEETGRAPH_DATABASE_URL", url)
    assert load_settings().database_url == "postgresql://u:p@h:1/d"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PORT": "eighty"}, "FLEETGRAPH_PORT: .*integer"),
        ({"QUERIES_PER_SECOND": "inf"}, "FLEETGRAPH_QUERIES_PER_SECOND: expected number <= 1000000"),
        ({"MUTATIONS_PER_SECOND": "inf"}, "FLEETGRAPH_MUTATIONS_PER_SECOND: expected number <= 1000000"),
        ({"PORT": "70000"}, "FLEETGRAPH_PORT: .*65535"),
        ({"DATABASE_URL": "mysql://x"}, "FLEETGRAPH_DATABASE_URL: must start with postgresql://"),
        ({"ENVIRONMENT": "prod"}, "FLEETGRAPH_ENVIRONMENT: .*production"),
        (
            {"OIDC_ALGORITHMS": "HS256"},
            "FLEETGRAPH_OIDC_ALGORITHMS: expected list, each one of .*`RS256`.*, not 'HS256'",
        ),
        (
            {"OIDC_ALGORITHMS": "none"},
            "FLEETGRAPH_OIDC_ALGORITHMS: expected list, each one of .*`RS256`.*, not 'none'",
        ),
        ({"OIDC_ISSUER": "https://id.example"}, "FLEETGRAPH_OIDC_AUDIENCE is missing"),
        ({"TRUSTED_DOCUMENTS_ONLY": "true"}, "needs FLEETGRAPH_TRUSTED_DOCUMENTS"),
        ({"OWNER_DATABASE_URL": "postgresql://h/d"}, "needs FLEETGRAPH_DATABASE_URL"),
    ],
)
def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv("FLEETGRAPH_" + name, value)
    with pytest.raises(SettingsError, match=said):
        load_settings()


def test_what_the_types_do_not_tell_is_named_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PORT": "eighty", "DATABASE_URL": "mysql://x", "DOORBELL": "nats"}.items():
        monkeypatch.setenv("FLEETGRAPH_" + name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    named = [line.replace(":", " ").split()[0] for line in str(refused.value).splitlines()]
    assert named == ["FLEETGRAPH_PORT", "FLEETGRAPH_DATABASE_URL", "FLEETGRAPH_NATS_URL"]


def test_settings_of_the_code_must_agree_too() -> None:
    with pytest.raises(SettingsError, match="FLEETGRAPH_NATS_URL is missing"):
        structs.replace(Settings(), doorbell=DoorbellKind.NATS)
    assert Settings(database_url="postgres://h/d").database_url == "postgresql://h/d"


def test_a_misspelt_variable_is_found() -> None:
    assert unknown_variables({"FLEETGRAPH_PROT": "1", "FLEETGRAPH_PORT": "1", "PATH": ""}) == ["FLEETGRAPH_PROT"]


def test_the_secret_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETGRAPH_SECRET_KEY", "hush-hush")
    assert "hush" not in repr(load_settings())


def test_each_setting_says_what_it_means() -> None:
    for field in structs.fields(Settings):
        assert meaning(inspect.type_info(field.type)), field.name


def test_the_reference_page_is_what_the_settings_say() -> None:
    """Print it anew with `make docs`."""
    page = Path(__file__).parents[2] / "docs/settings.md"
    assert page.read_text() == settings_markdown()
