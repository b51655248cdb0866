"""Genomes of the former systems (GEN-1, GEN-2, MIG-1, MIG-8, MIG-9)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.legacy.document import Rejection
from app.legacy.genomes import hashed, is_intact, of_agent, of_version
from app.registry.rules import former_genome_hash

BUILT = datetime(2026, 3, 9, 12, 0, 0, 7_000, tzinfo=UTC)


def test_an_agents_genome_is_the_same_each_time() -> None:
    """MIG-1, C23: the original held the current time, so the same agent hashed differently each time."""

    def genome() -> dict[str, Any]:
        return of_agent(model="gpt-5", temperature=0.2, max_tokens=None, soul="s1", tools=["read"], created=BUILT)

    assert genome() == {
        "modelConfig": {"primaryModel": "gpt-5", "temperature": 0.2},
        "promptBundleHash": "s1",
        "toolManifest": [{"toolId": "read", "schemaVersion": "legacy", "requiredPermissions": []}],
        "provenance": {
            "builtAt": "2026-03-09T12:00:00.007Z",
            "builtBy": "legacy-migration",
            "buildPipeline": "mission-control",
        },
    }
    assert hashed(genome()) == hashed(genome())
    bare = of_agent(model=None, temperature=None, max_tokens=None, soul="", tools=None, created=BUILT)
    assert (bare["modelConfig"], bare["promptBundleHash"], bare["toolManifest"]) == (
        {"primaryModel": "legacy-model"},
        "legacy-soul",
        [],
    )


def test_a_mission_control_genome() -> None:
    """MIG-8, decision 39: provider beside the model, a hash in place of tools, milliseconds in the provenance."""
    found = of_version(
        {
            "modelConfig": {"provider": "openai", "modelId": "gpt-5", "temperature": 0.2, "maxTokens": 8192},
            "promptBundleHash": "prompt:v1",
            "toolManifestHash": "tools:v1",
            "provenance": {"createdBy": "seed", "source": "ci", "createdAt": 1773057600007},
        },
        BUILT,
    )
    assert found == {
        "modelConfig": {
            "primaryModel": "gpt-5",
            "temperature": 0.2,
            "maxTokens": 8192,
            "inferenceParams": {"provider": "openai"},
        },
        "promptBundleHash": "prompt:v1",
        "toolManifest": [],
        "provenance": {"builtAt": "2026-03-09T12:00:00.007Z", "builtBy": "seed", "buildPipeline": "ci"},
    }


def test_an_arm_genome() -> None:
    """MIG-9, GEN-1: unknown keys of the model go under inferenceParams; well-formed optional parts stay."""
    found = of_version(
        {
            "modelConfig": {"provider": "anthropic", "model": "m-1", "topP": 0.9, "inferenceParams": {"seed": 7}},
            "promptBundleHash": "p",
            "toolManifest": ["search", {"toolId": "web", "requiredPermissions": ["web:read"], "extra": 1}],
            "provenance": {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "ci", "commitRef": "abc", "unknown": 1},
            "memoryConfig": {"types": ["short"], "retention": "30d"},
            "spawnConstraints": {"maxChildren": "many"},
        },
        BUILT,
    )
    assert found["modelConfig"] == {
        "primaryModel": "m-1",
        "inferenceParams": {"seed": 7, "provider": "anthropic", "topP": 0.9},
    }
    assert [tool["toolId"] for tool in found["toolManifest"]] == ["search", "web"]
    assert found["toolManifest"][1] == {
        "toolId": "web",
        "schemaVersion": "legacy",
        "requiredPermissions": ["web:read"],
        "extra": 1,
    }
    assert found["provenance"] == {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "ci", "commitRef": "abc"}
    assert found["memoryConfig"] == {"types": ["short"], "retention": "30d"}
    assert "spawnConstraints" not in found


def test_a_combined_genome_stays_as_it_is() -> None:
    genome = {
        "modelConfig": {"primaryModel": "m-1", "fallbackModel": "m-0", "inferenceParams": {"topP": 1}},
        "promptBundleHash": "p",
        "toolManifest": [{"toolId": "search", "schemaVersion": "1.0", "requiredPermissions": []}],
        "provenance": {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "ci"},
    }
    assert of_version(genome, BUILT) == genome


@pytest.mark.parametrize("genome", [None, "x", {"modelConfig": [1]}, {"toolManifest": {"a": 1}}, {"toolManifest": [7]}])
def test_what_is_no_genome_is_rejected(genome: Any) -> None:
    with pytest.raises(Rejection, match=r"^genome"):
        of_version(genome, BUILT)


def test_a_former_hash_is_held_against_the_former_rule() -> None:
    """MIG-9: else a sound version whose keys are array indexes would be called tampered."""
    genome = {"modelConfig": {"10": "a", "9": "b"}}
    assert is_intact(genome, former_genome_hash(genome))
    assert former_genome_hash(genome) != hashed(genome)
    assert not is_intact(genome, hashed(genome))
    assert not is_intact({"a": 2**60}, "x")
