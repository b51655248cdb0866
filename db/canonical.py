"""The canonical text of a JSON value (RFC 8785), and the hash of a genome over it.

It stands beside the tables because both sides of the line need it: the rules of the registry, and the demo fleet, whose
versions must bear the hashes that those rules would give them.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785


class CanonicalError(ValueError):
    """A value that has no canonical text: NaN, an infinity, a lone surrogate, an integer that JSON cannot carry, a key
    that is no text, or a nesting too deep to walk."""


def canonical_text(value: Any) -> bytes:
    """The RFC 8785 text of a JSON value, in UTF-8 (GEN-2).

    Object keys sort by UTF-16 code units, arrays keep their order, there is no white space, non-ASCII stays as it is,
    and numbers have the shortest ECMAScript form: 4096.0 becomes 4096. An explicit null stays. Raises CanonicalError.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise CanonicalError(f"This value has no canonical JSON text: {error}.") from error
    except RecursionError as error:
        raise CanonicalError("This value is nested too deep for a canonical JSON text.") from error


def canonical_hash(value: Any) -> str:
    """SHA-256 of a JSON value's canonical text, in lower-case hex. Raises CanonicalError."""
    return hashlib.sha256(canonical_text(value)).hexdigest()


def genome_hash(genome: Mapping[str, Any]) -> str:
    """SHA-256 of the whole genome's canonical text, in lower-case hex (GEN-3). Raises CanonicalError."""
    return canonical_hash(dict(genome))
