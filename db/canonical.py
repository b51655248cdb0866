"""The canonical text of a JSON value (RFC 8785), and the hash of a genome over it.

It stands beside the tables because both sides of the line need it: the rules of the registry, and the demo fleet, whose
versions must bear the hashes that those rules would give them.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson
import rfc8785

SAFE_INTEGER: Final = 2**53 - 1
"""The largest whole number that RFC 8785 writes."""
GENESIS: Final = "0" * 64
"""Hash that the first change record of a tenant follows."""


class CanonicalError(ValueError):
    """A value that has no canonical text: NaN, an infinity, a lone surrogate, an integer that JSON cannot carry, a key
    that is no text, or a nesting too deep to walk."""


def canonical_text(value: Any) -> bytes:
    """The RFC 8785 text of a JSON value, in UTF-8 (GEN-2).

    Object keys sort by UTF-16 code units, arrays keep their order, there is no white space, non-ASCII stays as it is,
    and numbers have the shortest ECMAScript form: 4096.0 becomes 4096. An explicit null stays. Raises CanonicalError.
    """
    try:
        return serialized(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise CanonicalError(f"This value has no canonical JSON text: {error}.") from error
    except RecursionError as error:
        raise CanonicalError("This value is nested too deep for a canonical JSON text.") from error


def serialized(value: Any) -> bytes:
    """The same, raising what rfc8785 raises.

    Most values have no fractions, and keys of ASCII alone. For them orjson writes the very same bytes, in a fortieth of
    the time; where the two could differ, in the form of a fraction or the order of keys, rfc8785 decides.
    """
    if is_simple(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:  # a lone surrogate, or too deep: rfc8785 says what is wrong, or can do it
            pass
    return rfc8785.dumps(value)


def is_simple(value: Any) -> bool:
    """Whether orjson, with sorted keys, writes the canonical text of this JSON value, or refuses to write it."""
    within = [value]
    for one in within:  # which grows meanwhile: however deep the value, this goes no deeper
        kind = type(one)
        if kind is str or one is None or kind is bool:
            continue
        if kind is dict:
            if not all(type(key) is str and key.isascii() for key in one):
                return False
            within += one.values()
        elif kind is list or kind is tuple:
            within += one
        elif kind is not int or not -SAFE_INTEGER <= one <= SAFE_INTEGER:
            return False
    return True


def canonical_hash(value: Any) -> str:
    """SHA-256 of a JSON value's canonical text, in lower-case hex. Raises CanonicalError."""
    return hashlib.sha256(canonical_text(value)).hexdigest()


def genome_hash(genome: Mapping[str, Any]) -> str:
    """SHA-256 of the whole genome's canonical text, in lower-case hex (GEN-3). Raises CanonicalError."""
    return canonical_hash(dict(genome))
