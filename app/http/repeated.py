"""Requests that come again byte for byte, as those of dashboards and of agents do: read once.

What is remembered of a body is what its text alone decides: the operation that it names and its variables' values. Who
asks, what they may, how often they may and what the rows say is found out each time, as for any other request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphql import OperationType

from app.graph.documents import BYTES_PER_CHARACTER, Document, Lru
from app.graph.execution import Outcome
from app.graph.request import Question

LONGEST: Final = 8_192
"""Bytes of a body that is remembered."""
_QUESTION_BYTES: Final = 2_000
_BYTES_PER_BYTE: Final = 20
"""What a question takes of memory: so much, and for each byte of its body. Its document comes on top."""


class Repeated:
    """The questions of one endpoint by the bodies that they came as."""

    def __init__(self, is_kept: Callable[[Document], bool], entries: int = 2_000, size: int = 32 * 2**20) -> None:
        """`is_kept` tells whether a document could still be asked for by its hash."""
        self._is_kept = is_kept
        self._questions: Lru[bytes, Question] = Lru(entries, size)

    def __len__(self) -> int:
        return len(self._questions)

    @property
    def used(self) -> int:
        """Bytes in use, at most: a document counts with each of its questions."""
        return self._questions.used

    def get(self, body: bytes) -> Question | None:
        """What the body asks; None where it is to be read.

        One whose document has gone is read again: whoever sends a query may from then on ask for it by its hash.
        """
        if len(body) > LONGEST:
            return None
        found = self._questions.get(body)
        return found if found is not None and self._is_kept(found.operation.document) else None

    def put(self, body: bytes, question: Question, outcome: Outcome) -> None:
        """Remember what a body asked, if that is a query which was found good and executed."""
        if len(body) > LONGEST or not outcome.executed or question.operation.kind is not OperationType.QUERY:
            return
        document = len(question.operation.document.text) * BYTES_PER_CHARACTER
        self._questions.put(body, question, _QUESTION_BYTES + len(body) * _BYTES_PER_BYTE + document)
