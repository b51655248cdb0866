"""Global ids: one text a row, `<prefix>_<32 hex digits of its UUIDv7>`.

The prefix tells the type, so `node(id:)` needs nothing else and a person who reads a log knows what it names.
"""

import re
from typing import Final
from uuid import UUID

from asyncpg.pgproto import pgproto

from app.graph.errors import BadUserInput

_HEX_DIGITS: Final = 32
_KEY: Final = re.compile("[0-9a-f]{32}")


def global_id(prefix: str, row_id: UUID) -> str:
    """The global id of a row."""
    return f"{prefix}_{row_id.hex}"


def parse_global_id(value: str, argument: str) -> tuple[str, UUID]:
    """Prefix and row id of a global id; BAD_USER_INPUT names `argument` where the text has another shape."""
    prefix, _, digits = value.partition("_")
    if len(digits) == _HEX_DIGITS and digits.isalnum() and digits.isascii() and digits == digits.lower():
        try:
            return prefix, pgproto.UUID(digits)  # a UUID like any other, made in a tenth of the time
        except ValueError:
            pass
    raise BadUserInput(
        f"`{argument}` is not an id of this API. Ids look like `tsk_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b`.", argument
    )


def key_of(prefix: str, type_name: str, value: str, argument: str) -> bytes:
    """The sixteen bytes of an id that `parse_id_of` takes, without making a UUID of them."""
    found, _, digits = value.partition("_")
    if found == prefix and _KEY.fullmatch(digits):
        return bytes.fromhex(digits)
    return parse_id_of(prefix, type_name, value, argument).bytes  # which says what is wrong with it


def parse_id_of(prefix: str, type_name: str, value: str, argument: str) -> UUID:
    """The row id of a global id that must be of the type with this prefix; else BAD_USER_INPUT names `argument`."""
    found, row_id = parse_global_id(value, argument)
    if found != prefix:
        raise BadUserInput(
            f"`{argument}` must be the id of a {type_name} (`{prefix}_…`), this one begins with `{found}_`.", argument
        )
    return row_id
