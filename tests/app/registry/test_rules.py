"""The genome's canonical text and hash (GEN-2, GEN-3, GEN-4, MIG-9)."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.registry.rules import CanonicalError, canonical_text, former_genome_hash, genome_hash

GENOME: dict[str, Any] = {
    "modelConfig": {"primaryModel": "m-1", "temperature": 0.7, "maxTokens": 4096.0},
    "promptBundleHash": "p1",
    "toolManifest": [{"toolId": "search", "schemaVersion": "1.0", "requiredPermissions": ["web:read"]}],
    "provenance": {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "ci"},
}
VECTOR = "6041170aa1647119a0d848680ff37ba482c8d3b42ca31dd40adad90af7fa42e3"


def test_the_test_vector_of_gen_4() -> None:
    text = canonical_text(GENOME).decode()
    assert text.startswith(
        '{"modelConfig":{"maxTokens":4096,"primaryModel":"m-1","temperature":0.7},"promptBundleHash":"p1",'
    )
    assert genome_hash(GENOME) == VECTOR


def test_key_order_and_the_form_of_a_number_do_not_matter_and_values_do() -> None:
    """GEN-4: only a change of a value changes the hash."""
    reordered = dict(reversed(list(GENOME.items())))
    whole = {**GENOME, "modelConfig": {**GENOME["modelConfig"], "maxTokens": 4096}}
    warmer = {**GENOME, "modelConfig": {**GENOME["modelConfig"], "temperature": 0.8}}
    with_null = {**GENOME, "memoryConfig": None}
    assert genome_hash(reordered) == genome_hash(whole) == VECTOR
    assert genome_hash(warmer) != VECTOR
    assert genome_hash(with_null) != VECTOR  # an explicit null is a value (GEN-2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ({"\U0001f600": 1, "\ufb33": 2}, '{"\U0001f600":1,"\ufb33":2}'),  # by UTF-16 code units, not by code point
        ([1e-7, 1e21, 100000.0, -0.0, 0.1], "[1e-7,1e+21,100000,0,0.1]"),
        ("grüße\u2028\n", '"grüße\u2028\\n"'),
        ({"10": 1, "9": 2}, '{"10":1,"9":2}'),
    ],
)
def test_the_canonical_form_is_that_of_rfc_8785(value: Any, text: str) -> None:
    """GEN-2."""
    assert canonical_text(value).decode() == text


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), float("-inf"), "\ud800", {"\udfff": 1}, 2**60, {1: "one"}, {"a": {1, 2}}],
    ids=["nan", "inf", "-inf", "surrogate", "surrogate key", "integer", "key", "set"],
)
def test_what_has_no_canonical_text_is_refused(value: Any) -> None:
    """GEN-2 as corrected: NaN, infinities and lone surrogates are refused, not written in some other way."""
    with pytest.raises(CanonicalError):
        canonical_text(value)
    with pytest.raises(CanonicalError):
        former_genome_hash({"a": value})


def test_a_bottomless_value_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for hashing in (genome_hash, former_genome_hash):
        with pytest.raises(CanonicalError, match="too deep"):
            hashing({"a": deep})


def test_the_former_systems_put_array_indexes_first() -> None:
    """MIG-9: checked with JCS order, a genome with such keys would be called tampered without reason."""
    genome = {"10": "a", "9": "b", "b": 1, "4294967295": 0, "01": 2, "a": [{"2": 1.0, "1": None}]}
    written = '{"9":"b","10":"a","01":2,"4294967295":0,"a":[{"1":null,"2":1}],"b":1}'
    assert former_genome_hash(genome) == hashlib.sha256(written.encode()).hexdigest()
    assert former_genome_hash(genome) != genome_hash(genome)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé😀", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc", min_size=1), json_values, max_size=5))
def test_the_canonical_text_reads_back_as_the_same_value_and_the_two_orders_agree_on_words(value: Any) -> None:
    """GEN-2: nothing is lost; and without array indexes among the keys the former order is the same (MIG-9)."""
    assert json.loads(canonical_text(value)) == value
    assert former_genome_hash(value) == genome_hash(value)
