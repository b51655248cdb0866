"""The content of the demo fleet, read from the YAML files beside this one."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).parent


@cache
def load(name: str) -> Any:
    """The content of the file `name`.yaml. Shared: whoever changes it copies it first."""
    with (_HERE / f"{name}.yaml").open(encoding="utf-8") as file:
        return yaml.safe_load(file)
