"""Who has a flag, and which variant (FLG-1, FLG-2, EXP-1 to EXP-3): pure rules."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from app.platform.rules.flags import bucket, is_on, percentage_fault, variant_of, variants_fault
from db.ids import new_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [("op1_new-ui", 88), ("op2_new-ui", 23), ("op1", 92), ("operator-42", 95), ("", 0)],
)
def test_flg_2_vectors(text: str, expected: int) -> None:
    assert bucket(text) == expected


def test_flg_2_counts_code_units() -> None:
    """A character outside of the basic plane is two of them."""
    assert bucket("\U0001f600") == (0xD83D * 31 + 0xDE00) % 100


def test_flg_2_the_most_negative_hash_has_a_bucket() -> None:
    """Every text has a bucket from 0 to 99, whatever the sign of its hash."""
    assert all(0 <= bucket(f"{n}_{new_id()}") < 100 for n in range(2_000))
    assert bucket("polygenelubricants") == 48  # its hash is -2147483648


@pytest.mark.parametrize(
    ("enabled", "conditions", "operator", "environments", "expected"),
    [
        (False, {"rolloutPercentage": 100}, "op1", None, False),
        (True, None, "op1", None, False),
        (True, None, None, None, False),
        (True, {"rolloutPercentage": 100}, None, None, True),
        (True, {"rolloutPercentage": 99}, None, None, False),
        (True, {"rolloutPercentage": 89}, "op1", None, True),
        (True, {"rolloutPercentage": 88}, "op1", None, False),
        (True, {"rolloutPercentage": 24}, "op2", None, True),
        (True, {"rolloutPercentage": 100, "targetOperators": ["op2"]}, "op1", None, False),
        (True, {"rolloutPercentage": 0, "targetOperators": ["op1"]}, "op1", None, True),
        (True, {"rolloutPercentage": 0, "targetOperators": ["op1"]}, None, None, False),
        (True, {"rolloutPercentage": 100, "targetOperators": ["op1"]}, None, None, True),
        (True, {"rolloutPercentage": 100, "targetOperators": []}, "op1", None, True),
        (True, {"rolloutPercentage": 100, "targetEnvironments": ["prod"]}, "op1", ["id", "prod"], True),
        (True, {"rolloutPercentage": 100, "targetEnvironments": ["prod"]}, "op1", ["id", "dev"], False),
        (True, {"rolloutPercentage": 100, "targetEnvironments": ["prod"]}, "op1", None, True),
        (True, {"rolloutPercentage": 100, "targetEnvironments": []}, "op1", ["id", "dev"], True),
        (True, {"rolloutPercentage": 0, "targetEnvironments": ["prod"]}, "op1", ["id", "prod"], False),
    ],
)
def test_flg_1_table(
    enabled: bool,
    conditions: dict[str, Any] | None,
    operator: str | None,
    environments: list[str] | None,
    expected: bool,
) -> None:
    assert is_on("new-ui", enabled, conditions, operator, environments) is expected


def test_flg_2_a_rollout_reaches_its_share_and_only_grows() -> None:
    people = [str(new_id()) for _ in range(5_000)]

    def reached(percent: int) -> set[str]:
        return {one for one in people if is_on("new-ui", True, {"rolloutPercentage": percent}, one)}

    assert 0.26 < len(reached(30)) / len(people) < 0.34
    assert reached(10) < reached(30) < reached(90)


@pytest.mark.parametrize("value", [-1, 100.5, float("nan"), float("inf")])
def test_flg_1_a_percentage_has_a_range(value: float) -> None:
    assert percentage_fault(value) is not None
    assert percentage_fault(0) is None
    assert percentage_fault(100) is None


def variants(*weights: int) -> list[dict[str, Any]]:
    return [{"id": f"v{at}", "name": f"V{at}", "weight": weight} for at, weight in enumerate(weights)]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (variants(100), "variants"),
        (variants(), "variants"),
        (variants(50, 49), "variants"),
        (variants(50, 51), "variants"),
        (variants(-10, 110), "variants[0].weight"),
        ([*variants(50), {"id": "v0", "name": "x", "weight": 50}], "variants[1].id"),
        ([*variants(50), {"id": " ", "name": "x", "weight": 50}], "variants[1].id"),
        ([*variants(50), {"id": "v1", "name": "", "weight": 50}], "variants[1].name"),
    ],
)
def test_exp_1_variants_that_are_none(given: list[dict[str, Any]], where: str) -> None:
    fault = variants_fault(given)
    assert fault is not None
    assert fault[1] == where


def test_exp_1_good_variants() -> None:
    assert variants_fault(variants(50, 50)) is None
    assert variants_fault(variants(0, 33, 67)) is None


def test_exp_2_by_cumulative_weight_in_the_declared_order() -> None:
    """The bucket of experiment and entity against the weights so far; the last one is what is left."""
    for entity in ("a", "b", "c", "operator-42"):
        drawn = bucket(f"exp_{entity}")
        assert variant_of("exp", entity, variants(drawn, 100 - drawn)) == "v1"
        assert variant_of("exp", entity, variants(drawn + 1, 99 - drawn)) == "v0"
    assert variant_of("exp", "a", variants(0, 0)) == "v1"


def test_exp_3_experiments_divide_people_differently_and_by_their_weights() -> None:
    people = [str(new_id()) for _ in range(5_000)]
    one = str(UUID(int=2**100))
    split = variants(20, 30, 50)
    drawn = Counter(variant_of(one, person, split) for person in people)
    for at, share in enumerate((0.2, 0.3, 0.5)):
        assert abs(drawn[f"v{at}"] / len(people) - share) < 0.04
    halves = variants(50, 50)
    shares = []
    for number in range(20):
        other = str(UUID(int=number))
        shares.append(
            sum(variant_of(one, person, halves) == variant_of(other, person, halves) for person in people[:500])
        )
    assert sum(shares) / len(shares) < 0.7 * 500  # the hash only shifts the buckets, so some pairs are alike
