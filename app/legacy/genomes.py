"""Genomes of the former systems in this system's shape (GEN-1, MIG-8, MIG-9)."""

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from app.legacy.document import Rejection, iso, items, mapping, moment, words
from app.legacy.shapes import GENOME_PARTS, MODEL_CONFIG, PROVENANCE
from app.registry.rules import CanonicalError, former_genome_hash, genome_hash

_MODEL_KEYS: Final = frozenset({"primaryModel", "fallbackModel", "temperature", "maxTokens", "inferenceParams"})
_PROVENANCE_KEYS: Final = frozenset(
    {"buildPipeline", "parentVersionId", "commitRef", "signingKeyRef", "builtAt", "builtBy"}
)
LEGACY_MODEL: Final = "legacy-model"
LEGACY_SOUL: Final = "legacy-soul"
LEGACY_SCHEMA: Final = "legacy"


def hashed(genome: Mapping[str, Any]) -> str:
    """The genome's hash. Raises Rejection where it has none (GEN-2)."""
    try:
        return genome_hash(genome)
    except CanonicalError as error:
        raise Rejection("genome", None, str(error)) from error


def is_intact(genome: Mapping[str, Any], recorded: Any) -> bool:
    """Whether a genome is still the one that its former system hashed (MIG-9)."""
    try:
        return bool(former_genome_hash(genome) == recorded)
    except CanonicalError:
        return False


def of_version(given: Any, created: datetime) -> dict[str, Any]:
    """The genome of a version of ARM or Mission Control.

    Both kept the model as `modelConfig.model` or `.modelId` with its provider beside it; what this system's
    `modelConfig` does not name goes under `inferenceParams`. Mission Control kept a hash in place of the tools, so its
    manifest is empty (decision 39). An optional part that has not the keys it should have is left out; the metadata
    keeps the genome as it was.
    """
    former = mapping("genome", given)
    return {
        "modelConfig": _model_config(mapping("genome.modelConfig", former.get("modelConfig") or {})),
        "promptBundleHash": words("genome.promptBundleHash", former.get("promptBundleHash") or LEGACY_SOUL),
        "toolManifest": _manifest(former.get("toolManifest") or former.get("tools") or []),
        "provenance": _provenance(mapping("genome.provenance", former.get("provenance") or {}), created),
        **_optional_parts(former),
    }


def of_agent(
    *, model: Any, temperature: Any, max_tokens: Any, soul: Any, tools: list[str] | None, created: datetime
) -> dict[str, Any]:
    """The genome of a Mission Control agent. Its provenance is fixed, so that the hash can be made again (C23)."""
    config = {"primaryModel": model or LEGACY_MODEL, "temperature": temperature, "maxTokens": max_tokens}
    return {
        "modelConfig": {name: value for name, value in config.items() if value is not None},
        "promptBundleHash": soul or LEGACY_SOUL,
        "toolManifest": _manifest(tools or []),
        "provenance": {"builtAt": iso(created), "builtBy": "legacy-migration", "buildPipeline": "mission-control"},
    }


def _model_config(former: dict[str, Any]) -> dict[str, Any]:
    model = former.get("primaryModel") or former.get("modelId") or former.get("model") or LEGACY_MODEL
    config: dict[str, Any] = {"primaryModel": words("genome.modelConfig", model)}
    config |= {
        name: former[name] for name in ("fallbackModel", "temperature", "maxTokens") if former.get(name) is not None
    }
    taken = {"modelId", "model"} if "primaryModel" not in former else set()
    rest = {name: value for name, value in former.items() if name not in _MODEL_KEYS | taken and value is not None}
    given = former.get("inferenceParams")
    if rest:
        config["inferenceParams"] = {**(given if isinstance(given, dict) else {}), **rest}
    elif given is not None:
        config["inferenceParams"] = given
    return MODEL_CONFIG.fit("genome.modelConfig", config)


def _optional_parts(former: dict[str, Any]) -> dict[str, Any]:
    parts = {}
    for name, shape in GENOME_PARTS.items():
        if former.get(name) is not None:
            with contextlib.suppress(Rejection):
                parts[name] = shape.fit(f"genome.{name}", former[name])
    return parts


def _manifest(tools: Any) -> list[dict[str, Any]]:
    manifest = []
    for tool in items("genome.toolManifest", tools):
        entry = {"toolId": tool} if isinstance(tool, str) else dict(mapping("genome.toolManifest", tool))
        name = words("genome.toolManifest", entry.get("toolId") or entry.get("name") or entry.get("id"))
        manifest.append(
            {
                **entry,
                "toolId": name,
                "schemaVersion": str(entry.get("schemaVersion") or LEGACY_SCHEMA),
                "requiredPermissions": [
                    words("genome.toolManifest", one)
                    for one in items("genome.toolManifest", entry.get("requiredPermissions") or [])
                ],
            }
        )
    return manifest


def _provenance(former: dict[str, Any], created: datetime) -> dict[str, Any]:
    """`builtAt` and `builtBy` are required; Mission Control called them createdAt (milliseconds) and createdBy."""
    at = former.get("builtAt") or former.get("createdAt")
    built = at if isinstance(at, str) else iso(created if at is None else moment("genome.provenance", at))
    known = {name: former[name] for name in sorted(_PROVENANCE_KEYS & former.keys()) if former[name] is not None}
    if "buildPipeline" not in known and former.get("source"):
        known["buildPipeline"] = str(former["source"])
    built_by = str(former.get("builtBy") or former.get("createdBy") or "unknown")
    return PROVENANCE.fit("genome.provenance", {**known, "builtAt": built, "builtBy": built_by})
