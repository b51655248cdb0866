"""Rules of the registry: pure data and pure functions, no I/O.

The genome's hash is what a version's identity rests on (GEN-1 to GEN-5). `genome_hash` is the rule for every genome
of this system; `former_genome_hash` is the rule of the two systems it came from, kept so that an imported version can
be held against the hash that was recorded when it was built (GEN-2 as corrected, MIG-9).
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from db.canonical import CanonicalError, canonical_text, genome_hash
from db.enums.described import Described

__all__ = [
    "CanonicalError",
    "IntegrityStatus",
    "canonical_text",
    "former_genome_hash",
    "genome_hash",
    "integrity_of",
]

_ARRAY_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_ARRAY_INDEX_LIMIT: Final = 2**32 - 1


class IntegrityStatus(Described):
    """Whether a version's genome still fits the hash that was taken when it was built (GEN-8)."""

    VERIFIED = "VERIFIED", "The genome is the one that was hashed."
    TAMPERED = "TAMPERED", "It is another one: nothing may run it any more."


def integrity_of(genome: Any, recorded: str) -> IntegrityStatus:
    """Hash a genome again and compare with the recorded hash; one that cannot be hashed fits none."""
    try:
        is_sound = genome_hash(genome) == recorded
    except CanonicalError:
        is_sound = False
    return IntegrityStatus.VERIFIED if is_sound else IntegrityStatus.TAMPERED


def former_genome_hash(genome: Mapping[str, Any]) -> str:
    """The hash that ARM and Mission Control recorded for a genome.

    Both built an object with sorted keys and let the engine write it out, and an engine puts keys that are array
    indexes first, ascending as numbers; all others follow by UTF-16 code units. Numbers and strings are as in
    `canonical_text`. Raises CanonicalError.
    """
    try:
        return hashlib.sha256(_former_text(dict(genome))).hexdigest()
    except RecursionError as error:
        raise CanonicalError("This genome is nested too deep for a canonical JSON text.") from error


def _former_text(value: Any) -> bytes:
    match value:
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise CanonicalError(f"The object key {key!r} is no text.")
            members = (
                canonical_text(key) + b":" + _former_text(value[key]) for key in sorted(value, key=_engine_order)
            )
            return b"{" + b",".join(members) + b"}"
        case str():
            return canonical_text(value)
        case Sequence():
            return b"[" + b",".join(_former_text(one) for one in value) + b"]"
    return canonical_text(value)


def _engine_order(key: str) -> tuple[int, float, bytes]:
    """Where an ECMAScript engine puts the key: array indexes (0 to 2^32 - 2) ascending, then the rest as sorted."""
    if _ARRAY_INDEX.fullmatch(key) and (number := int(key)) < _ARRAY_INDEX_LIMIT:
        return 0, number, b""
    return 1, math.inf, key.encode("utf-16-be", "surrogatepass")
