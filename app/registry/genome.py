"""What a genome must look like (GEN-1), checked before it is hashed: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

_TEXT: Final = "a text that is not blank"
REQUIRED: Final = ("modelConfig", "promptBundleHash", "toolManifest", "provenance")
"""The keys that every genome has."""


def genome_faults(genome: Any) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) for everything that keeps a value from being a genome (GEN-1)."""
    if not isinstance(genome, Mapping):
        yield "", "is not an object"
        return
    for name in REQUIRED:
        if name not in genome:
            yield name, "is missing"
    yield from _model_config(genome.get("modelConfig", {"primaryModel": "-"}))
    if "promptBundleHash" in genome:
        yield from _text(genome["promptBundleHash"], "promptBundleHash")
    yield from _manifest(genome.get("toolManifest", []))
    yield from _provenance(genome.get("provenance", {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "-"}))
    if (spawning := genome.get("spawnConstraints")) is not None:
        yield from _object(spawning, "spawnConstraints")
        if isinstance(spawning, Mapping) and not _is_count(spawning.get("maxChildren")):
            yield "spawnConstraints.maxChildren", "is not a whole number from 0"
    for name, keys in (("memoryConfig", ("retention",)), ("behaviorProfile", ("riskTolerance", "escalationPosture"))):
        if (section := genome.get(name)) is not None:
            yield from _object(section, name)
            for key in keys if isinstance(section, Mapping) else ():
                yield from _text(section.get(key), f"{name}.{key}")


def _model_config(config: Any) -> Iterator[tuple[str, str]]:
    yield from _object(config, "modelConfig")
    if not isinstance(config, Mapping):
        return
    yield from _text(config.get("primaryModel"), "modelConfig.primaryModel")
    for name in ("temperature", "maxTokens"):
        value = config.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            yield f"modelConfig.{name}", "is not a number"


def _manifest(manifest: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(manifest, list):
        yield "toolManifest", "is not a list"
        return
    for position, tool in enumerate(manifest):
        path = f"toolManifest[{position}]"
        if not isinstance(tool, Mapping):
            yield path, "is not an object"
            continue
        for name in ("toolId", "schemaVersion"):
            yield from _text(tool.get(name), f"{path}.{name}")
        permissions = tool.get("requiredPermissions")
        if not isinstance(permissions, list) or not all(isinstance(one, str) for one in permissions):
            yield f"{path}.requiredPermissions", "is not a list of texts"


def _provenance(provenance: Any) -> Iterator[tuple[str, str]]:
    yield from _object(provenance, "provenance")
    if not isinstance(provenance, Mapping):
        return
    yield from _text(provenance.get("builtBy"), "provenance.builtBy")
    built_at = provenance.get("builtAt")
    try:
        datetime.fromisoformat(built_at if isinstance(built_at, str) else "")
    except ValueError:
        yield "provenance.builtAt", "is not an ISO 8601 time"


def _object(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield path, "is not an object"


def _text(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, str) or not value.strip():
        yield path, f"is not {_TEXT}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
