"""A module for each family of mutations.

Each has `INPUTS`, a minimal good input by the mutation's name, and may have `add_rows(put, rows)`, which puts rows onto
the stage that no other module has: `rows` are those that stand there already.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Final

MODULES: Final[tuple[ModuleType, ...]] = tuple(
    import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__) if found.name != "case"
)
