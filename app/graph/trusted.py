"""Trusted documents: the operations that a gateway's own applications send, known before they do.

A file names them, as the build of an application writes it: `{"<id>": "<document>"}`, the form of Relay and of most
tools, or Apollo's manifest, `{"format": "apollo-persisted-query-manifest", "operations": [{"id": …, "body": …}]}`.
They are sent by their id, and where the gateway runs nothing else, nobody can ask it a question that nobody reviewed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

MANIFEST: Final = "apollo-persisted-query-manifest"


class TrustedUnusable(ValueError):
    """The file of trusted documents cannot be used; the message says why."""


@dataclass(frozen=True)
class Trusted:
    """The documents of the file by their ids; `alone` refuses every other."""

    documents: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False


def read_trusted(path: Path, *, alone: bool) -> Trusted:
    """The documents of a file. Raises TrustedUnusable."""
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise TrustedUnusable(f"{path} cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise TrustedUnusable(f"{path} is not JSON: {error}") from None
    documents = _of_manifest(found) if isinstance(found, dict) and found.get("format") == MANIFEST else found
    if not isinstance(documents, dict) or not all(isinstance(text, str) for text in documents.values()):
        raise TrustedUnusable(f"{path} is neither an object of documents by id nor a manifest of Apollo's")
    return Trusted(documents, alone)


def _of_manifest(manifest: dict[str, Any]) -> Any:
    operations = manifest.get("operations")
    if not isinstance(operations, list):
        return None
    try:
        return {one["id"]: one["body"] for one in operations}
    except (KeyError, TypeError):
        return None
