"""Tools, files, hosts, scopes and shell commands against the lists of a policy (POL-2, POL-8).

Each list is compiled once. A list that is absent restricts nothing and an empty one allows nothing; the classes here
stand for lists that are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from app.governance.policy.shell import Part, dequoted, split_command, split_roughly

_BEHIND_SUDO: Final = frozenset({"sudo", "doas", "env", "nohup", "time", "xargs", "command", "exec", "nice"})
_COMMAND_WORD: Final = re.compile(r"[a-z0-9_]+")
_BLANKS: Final = re.compile(r"\s+")
_SCHEME: Final = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_UNSAFE_IN_URL: Final = re.compile(r"[\x00-\x20\x7f\\]")
_GLOB_TOKEN: Final = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")


class NameList:
    """Names, of which some end in `*` (or have one elsewhere): tools and data scopes. Case does not count."""

    __slots__ = ("_names", "_patterns", "_prefixes")

    def __init__(self, entries: Iterable[str]) -> None:
        folded = [entry.strip().casefold() for entry in entries]
        self._names = frozenset(entry for entry in folded if "*" not in entry)
        starred = [entry for entry in folded if "*" in entry]
        self._prefixes = tuple(entry[:-1] for entry in starred if entry.index("*") == len(entry) - 1)
        self._patterns = tuple(
            re.compile(".*".join(map(re.escape, entry.split("*"))), re.DOTALL)
            for entry in starred
            if entry.index("*") < len(entry) - 1
        )

    def has(self, name: str) -> bool:
        """Whether the name is on the list."""
        folded = name.casefold()
        return (
            folded in self._names
            or (bool(self._prefixes) and folded.startswith(self._prefixes))
            or any(pattern.fullmatch(folded) for pattern in self._patterns)
        )


# --- Files ------------------------------------------------------------------------------------------------------------


def normal_path(path: str) -> str | None:
    """The path with `/` between its parts and nothing redundant; None where a part is `..` (POL-8)."""
    parts = path.strip().replace("\\", "/").split("/")
    if ".." in parts or "\0" in path:
        return None
    kept = [part for part in parts if part not in ("", ".")]
    return ("/" if parts[0] == "" and len(parts) > 1 else "") + "/".join(kept)


def glob_regex(glob: str) -> str:
    """The regular expression of a glob: `*` is anything but a slash, `**` anything, `**/` any directories or none, `?`
    one character that is no slash; all else stands for itself (POL-8)."""
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(meaning.get(token) or re.escape(token) for token in _GLOB_TOKEN.findall(glob))


class Globs:
    """Paths that are allowed. Case counts."""

    __slots__ = ("_pattern",)

    def __init__(self, globs: Iterable[str]) -> None:
        self._pattern = _either((glob_regex(normal_path(glob) or glob) for glob in globs), re.DOTALL)

    def has(self, path: str) -> bool:
        """Whether a normalised path is allowed."""
        return self._pattern is not None and self._pattern.fullmatch(path) is not None


class BlockGlobs:
    """Paths that are forbidden. Case does not count, and a glob without a slash forbids the name in any directory."""

    __slots__ = ("_pattern",)

    def __init__(self, globs: Iterable[str]) -> None:
        flags = re.DOTALL | re.IGNORECASE
        self._pattern = _either((("" if "/" in one else "(?:.*/)?") + glob_regex(one) for one in globs), flags)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is forbidden."""
        return self._pattern is None

    def has(self, path: str) -> bool:
        """Whether a normalised path is forbidden; a relative glob forbids it below any root."""
        return self._pattern is not None and self._pattern.fullmatch(path.lstrip("/")) is not None


def _either(patterns: Iterable[str], flags: int) -> re.Pattern[str] | None:
    found = list(patterns)
    return re.compile("|".join(f"(?:{one})" for one in found), flags) if found else None


# --- Hosts ------------------------------------------------------------------------------------------------------------


def host_of(url: str) -> str | None:
    """Host (and port, where one is named) of an http or https address; None for anything else.

    What clients understand in different ways is no address: a backslash, a blank, a control character.
    """
    text = url.strip()
    if _UNSAFE_IN_URL.search(text):
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        if parts.scheme.lower() not in ("http", "https") or not host:
            return None
        host = host.rstrip(".").encode("idna").decode() if not host.isascii() else host.rstrip(".")
    except ValueError:
        return None
    if not host:
        return None
    return f"{host.lower()}:{port}" if port is not None else host.lower()


class Hosts:
    """Hosts that may be reached, with their sub-domains (POL-8). An entry with a port allows that port alone."""

    __slots__ = ("_hosts", "_suffixes")

    def __init__(self, entries: Iterable[str]) -> None:
        cleaned = [_SCHEME.sub("", entry.strip().lower()).split("/")[0].rstrip(".") for entry in entries]
        hosts = [entry.removeprefix("*.") for entry in cleaned if entry]
        self._hosts = frozenset(hosts)
        self._suffixes = tuple(f".{host}" for host in hosts)

    def has(self, host: str) -> bool:
        """Whether what `host_of` gave is one of the hosts or below one."""
        bare = host if host.endswith("]") else host.rpartition(":")[0] or host
        return any(one in self._hosts or one.endswith(self._suffixes) for one in (host, bare))


# --- Shell ------------------------------------------------------------------------------------------------------------


class ShellBlocks:
    """What no shell command may have in it (RSK-8, POL-8). Case and the number of blanks do not count.

    An entry of one word is a command's name and matches whole words (`dd` is not in `git add`); `a | b` is a pipe from
    one command into another; any other entry matches anywhere.
    """

    __slots__ = ("_pipes", "_texts", "_words")

    def __init__(self, entries: Iterable[str]) -> None:
        folded = [_BLANKS.sub(" ", entry.strip().lower()) for entry in entries if entry.strip()]
        self._pipes = tuple(
            (entry, tuple(part.strip() for part in entry.split("|"))) for entry in folded if "|" in entry
        )
        plain = [entry for entry in folded if "|" not in entry]
        self._words = frozenset(entry for entry in plain if _COMMAND_WORD.fullmatch(entry))
        self._texts = tuple(entry for entry in plain if entry not in self._words)

    def found_in(self, command: str, parts: list[Part] | None) -> str | None:
        """The first entry that the command has in it, None where it has none; `parts` is what it was split into."""
        raw = _BLANKS.sub(" ", command.replace("\\\n", "").lower())
        bare = dequoted(raw)
        for text in self._texts:
            if text in raw or text in bare:
                return text
        if not self._words and not self._pipes:
            return None
        split = split_roughly(raw) if parts is None else parts
        for part in split:
            for position, word in enumerate(dequoted(part.text).split()):
                name = word.rpartition("/")[2]
                if name in self._words:
                    return name
                if position == 0 and (stem := name.partition(".")[0]) in self._words:
                    return stem  # mkfs.ext4 is mkfs
        return next((entry for entry, names in self._pipes if _is_piped(split, names)), None)


def _is_piped(parts: Iterable[Part], names: tuple[str, ...]) -> bool:
    """Whether one pipeline runs these commands in this order, others in between or not."""
    waiting = list(names)
    for part in parts:
        if not part.is_piped:
            waiting = list(names)
        if waiting and _program(part.text) == waiting[0]:
            waiting.pop(0)
        if not waiting:
            return True
    return False


def _program(part: str) -> str:
    words = [word.rpartition("/")[2] for word in dequoted(part).split()]
    return next((word for word in words if word not in _BEHIND_SUDO and not word.startswith("-")), "")


class ShellPrefixes:
    """What a shell command may begin with, each part of a compound one for itself (POL-8).

    A prefix that ends in a letter or digit is a whole word: `ls` allows `ls -la` and not `lsof`.
    """

    __slots__ = ("_starts", "_words")

    def __init__(self, entries: Iterable[str]) -> None:
        folded = [_BLANKS.sub(" ", entry.strip().lower()) for entry in entries if entry.strip()]
        self._words = frozenset(entry for entry in folded if entry[-1].isalnum())
        self._starts = tuple(entry for entry in folded if not entry[-1].isalnum()) + tuple(
            f"{entry} " for entry in self._words
        )

    def refused(self, parts: Iterable[Part]) -> str | None:
        """The first part that may not be run, None where all may. A command without parts is refused."""
        found = [_BLANKS.sub(" ", part.text).strip() for part in parts]
        for part in found:
            if part not in self._words and not part.startswith(self._starts):
                return part
        return None if found else ""


def parts_of(command: str) -> list[Part] | None:
    """The commands that a shell would run for a line, in lower case; None where that cannot be told."""
    return split_command(command.strip().lower())
