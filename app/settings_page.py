"""The reference page of the settings, made from what their fields say of themselves."""

from __future__ import annotations

from pathlib import Path

from msgspec import inspect, structs

from app import settings
from app.from_environment import in_words
from app.settings import Settings


def settings_markdown() -> str:
    """The reference page docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Environment variables; all have defaults. `fleetgraph doctor` tells which of them cannot be used, and why.",
    ]
    groups = _groups()
    for field in structs.fields(Settings):
        if field.name in groups:
            lines += [
                "",
                f"## {groups[field.name]}",
                "",
                "| Variable | Kind | Default | Meaning |",
                "|---|---|---|---|",
            ]
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        if isinstance(default, bool):
            default = str(default).lower()
        shown = "" if default in (None, "") else f"`{default}`"
        kind = inspect.type_info(field.type)
        lines.append(f"| `{field.encode_name}` | {in_words(kind)} | {shown} | {meaning(kind)} |")
    return "\n".join(lines) + "\n"


def meaning(kind: inspect.Type) -> str:
    """The description of a field of this type."""
    match kind:
        case inspect.Metadata(extra_json_schema={"description": str(text)}):
            return text
        case _:
            return ""


def _groups() -> dict[str, str]:
    """The first field of each group -> the group's heading, from the comments above."""
    groups: dict[str, str] = {}
    heading = None
    for line in Path(settings.__file__).read_text().splitlines():
        text = line.strip()
        if text.startswith("# Group: "):
            heading = text.removeprefix("# Group: ")
        elif heading and (name := text.split(":", 1)[0]) in Settings.__struct_fields__:
            groups[name] = heading
            heading = None
    return groups
