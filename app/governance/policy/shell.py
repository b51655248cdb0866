"""Shell lines, as far as permission needs them: where one command ends and the next begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Part:
    """One command of a line."""

    text: str
    is_piped: bool
    """Whether it reads what the command before it writes."""


_ENDS: Final = frozenset(";&|\n\r(){}")
"""What ends a command outside of quotes. Brackets and braces count, so that a group's commands are looked at too."""
_ANY_END: Final = re.compile(r"[;&|\n\r(){}`]")
_BEFORE_COMMENT: Final = ("", " ", "\t", "\n", ";", "&", "|", "(")
_QUOTING: Final = frozenset("'\"\\`$(")


class _Splitter:
    """Walks over a line once; `_stack` holds what closes the open substitutions, and the quotes around them."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._parts: list[Part] = []
        self._text: list[str] = []
        self._is_piped = False
        self._quote = ""
        self._is_lost = False
        self._stack: list[tuple[str, str, list[str], bool]] = []

    def split(self) -> list[Part] | None:
        at = 0
        while at < len(self._line) and not self._is_lost:
            at = self._step(at, self._line[at])
        if self._quote or self._stack or self._is_lost:
            return None
        self._end()
        return self._parts

    def _step(self, at: int, char: str) -> int:
        """Take the character (and what belongs to it); returns where to go on."""
        following = self._line[at + 1 : at + 2]
        if self._quote in ("'", "$'"):
            if self._quote == "$'" and char == "\\":
                return self._keep(at, 2)
            self._quote = "" if char == "'" else self._quote
            return self._keep(at, 1)
        if char == "\\":
            # A shell takes a backslash and the end of the line out of the command.
            return at + 2 if following == "\n" else self._keep(at, 2)
        if char == "`":
            if self._stack and self._stack[-1][0] == "`" and not self._quote:
                return self._close(at)
            return self._open("`", at + 1)
        if char in "$<>" and following == "(" and (char == "$" or not self._quote):
            return self._open(")", at + 2)
        if char == '"':
            self._quote = "" if self._quote else '"'
            return self._keep(at, 1)
        if self._quote:
            return self._keep(at, 1)
        if char == "'":
            self._quote = "$'" if self._before(1) == "$" else "'"
            self._is_lost = self._before(2) == self._before(1) == "$"  # `$$` is a variable, and then it is no `$'`
            return self._keep(at, 1)
        if (char == "<" and following == "<") or (char == "#" and self._line[at - 1 : at] in _BEFORE_COMMENT):
            # A quote in a here-document or a comment is none to a shell: what follows could not be told apart.
            self._is_lost = True
            return at
        if char == ")" and self._stack and self._stack[-1][0] == ")":
            return self._close(at)
        if char == "$" and following == "{":
            return self._variable(at)
        if char == "&" and (following == ">" or self._before(1) in (">", "<")):
            return self._keep(at, 1)  # 2>&1 and &> are redirections
        if char in _ENDS:
            return self._separate(at, char, following)
        return self._keep(at, 1)

    def _before(self, count: int) -> str:
        """What was kept so many steps ago in this command; an escaped character is kept with its backslash."""
        return self._text[-count] if len(self._text) >= count else ""

    def _keep(self, at: int, length: int) -> int:
        self._text.append(self._line[at : at + length])
        return at + length

    def _separate(self, at: int, char: str, following: str) -> int:
        self._end()
        is_double = following == char and char in "&|"
        self._is_piped = char == "|" and not is_double
        return at + (2 if is_double or (char == "|" and following == "&") else 1)

    def _variable(self, at: int) -> int:
        """`${name}`: the braces are no group."""
        inside = self._line[at : self._line.find("}", at) + 1]
        self._is_lost = not inside or not _QUOTING.isdisjoint(inside[1:])
        return self._keep(at, len(inside))

    def _open(self, closing: str, after: int) -> int:
        self._stack.append((closing, self._quote, self._text, self._is_piped))
        self._quote, self._text, self._is_piped = "", [], False
        return after

    def _close(self, at: int) -> int:
        self._end()
        _, self._quote, self._text, self._is_piped = self._stack.pop()
        # What the substitution yields is not known: it stands in the outer command as a word of its own.
        self._text.append("$()")
        return at + 1

    def _end(self) -> None:
        text = "".join(self._text).strip()
        if text:
            self._parts.append(Part(text, self._is_piped))
        self._text, self._is_piped = [], False


def split_command(line: str) -> list[Part] | None:
    """The commands that a shell would run for a line, those inside `$( )`, back-ticks and groups among them (POL-8).

    Quotes are understood: nothing is split inside of them, save what a shell runs there too. None where that cannot be
    told for sure: a quote or a substitution does not end, or there is a here-document, a comment, or quoting inside
    `${ }`.
    """
    return _Splitter(line).split()


def dequoted(text: str) -> str:
    """A command without quotes and backslashes: `su''do` and `s\\udo` are sudo to a shell."""
    return text.replace("'", "").replace('"', "").replace("\\", "")


def split_roughly(line: str) -> list[Part]:
    """The line cut wherever a command could begin, quotes or not: for what must be found in any case."""
    return [Part(text.strip(), False) for text in _ANY_END.split(line) if text.strip()]
