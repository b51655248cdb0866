"""The arguments of a tool call against the policy's lists (POL-2 step 8 and 9, POL-8)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.governance.policy.inheritance import EffectivePolicy
from app.governance.policy.matching import BlockGlobs, Globs, NameList, host_of, normal_path, parts_of

_SHELL: Final = frozenset({"shell", "exec", "bash", "shell_exec"})
_NETWORK: Final = frozenset({"web_fetch", "http", "fetch", "http_request", "network_call"})
_READ: Final = frozenset({"read", "read_file"})
_WRITE: Final = frozenset({"write", "write_file", "edit", "edit_file", "create_file", "delete_file", "rename_file"})

_NO_WORD: Final = re.compile(r"[^a-z0-9]")
_PATHS: Final = frozenset(
    {
        *("path", "paths", "file", "files", "filepath", "filename", "from", "to", "source", "destination", "target"),
        *("oldpath", "newpath", "oldname", "newname", "sourcepath", "destinationpath", "targetpath", "targetfile"),
    }
)
_SCOPES: Final = frozenset({"scope", "scopes", "datascope", "datascopes"})


class ListFault(Exception):
    """An argument that a list stands against. `field` is the list, `reason` the sentence, `hint` what would help."""

    def __init__(self, code: str, field: str, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.code, self.field, self.reason, self.hint = code, field, reason, hint


def check_lists(tool: str, args: Mapping[str, Any], policy: EffectivePolicy) -> None:
    """Raise ListFault for the first argument that the lists of shell, network, files or data scopes do not allow."""
    name = tool.casefold()
    if name in _SHELL:
        _check_shell(args, policy)
    elif name in _NETWORK:
        _check_network(args, policy)
    elif name in _READ:
        _check_files(args, policy.readable, policy.unreadable, "file_read_paths", "read")
    elif name in _WRITE:
        _check_files(args, policy.writable, policy.unwritable, "file_write_paths", "written")
    if policy.data_scopes is not None:
        _check_scopes(args, policy.data_scopes)


def _check_shell(args: Mapping[str, Any], policy: EffectivePolicy) -> None:
    command = args.get("command", args.get("cmd"))
    if isinstance(command, list):
        command = " ".join(map(str, command))
    if not isinstance(command, str):
        if policy.shell_allowed is not None:
            raise ListFault(
                "ALLOWLIST_BLOCK",
                "shell_allowlist",
                "The shell call names no command.",
                "Give the command as `command`.",
            )
        return
    parts = parts_of(command)
    found = policy.shell_blocked.found_in(command, parts)
    if found is not None:
        raise ListFault(
            "BLOCKED_PATTERN",
            "shell_blocklist",
            f"The shell command contains blocked pattern '{found}'.",
            "Do it without the blocked pattern.",
        )
    if policy.shell_allowed is None:
        return
    if parts is None:
        raise ListFault(
            "ALLOWLIST_BLOCK",
            "shell_allowlist",
            "Where the commands of the shell line begin and end cannot be told.",
            "Close its quotes, and leave out here-documents, comments and quotes inside ${ }.",
        )
    if (refused := policy.shell_allowed.refused(parts)) is not None:
        program = refused.split(" ")[0][:60]
        raise ListFault(
            "ALLOWLIST_BLOCK",
            "shell_allowlist",
            f"The shell command '{program}' is not on the allow list.",
            "Use commands that the allow list of the policy begins with, in each part of a compound one.",
        )


def _check_network(args: Mapping[str, Any], policy: EffectivePolicy) -> None:
    url = args.get("url")
    if not isinstance(url, str):
        if policy.hosts is not None:
            raise ListFault(
                "NETWORK_BLOCK", "network_allowlist", "The network call names no address.", "Give it as `url`."
            )
        return
    host = host_of(url)
    if host is None:
        raise ListFault(
            "NETWORK_BLOCK",
            "network_allowlist",
            "The address is no valid http or https URL.",
            "Give a whole address, such as https://example.com/page.",
        )
    if policy.hosts is not None and not policy.hosts.has(host):
        raise ListFault(
            "NETWORK_BLOCK",
            "network_allowlist",
            f"The host '{host}' is not on the allow list.",
            "Have the host added to the network allow list of the policy.",
        )


def _check_files(args: Mapping[str, Any], allowed: Globs | None, forbidden: BlockGlobs, field: str, done: str) -> None:
    if allowed is None and forbidden.is_empty:
        return
    paths = list(_named(args, _PATHS))
    if not paths:
        raise ListFault("FILE_BLOCK", field, "The file call names no path.", "Give the file as `path`.")
    for path in paths:
        normal = normal_path(path)
        if normal is None:
            raise ListFault(
                "FILE_BLOCK", field, "The path has a '..' in it.", "Give the path without steps to a parent directory."
            )
        if forbidden.has(normal):
            raise ListFault(
                "FILE_BLOCK", field, f"'{normal[:200]}' is blocked: it may not be {done}.", "Use another file."
            )
        if allowed is not None and not allowed.has(normal):
            raise ListFault(
                "FILE_BLOCK",
                field,
                f"'{normal[:200]}' is not on the list of files that may be {done}.",
                "Use a path that the policy's globs allow.",
            )


def _check_scopes(args: Mapping[str, Any], allowed: NameList) -> None:
    for scope in _named(args, _SCOPES):
        if not allowed.has(scope):
            raise ListFault(
                "DATA_SCOPE_BLOCK",
                "data_scopes",
                f"The data scope '{scope[:100]}' is not on the list.",
                "Name only data scopes that the policy allows.",
            )


def _named(args: Mapping[str, Any], names: frozenset[str]) -> Iterator[str]:
    """The texts that stand under one of these keys, in a list or not; the keys' case and hyphens do not count."""
    for key, value in args.items():
        if _NO_WORD.sub("", key.casefold()) in names:
            for one in value if isinstance(value, list) else (value,):
                if isinstance(one, str):
                    yield one
