"""The demo fleet: two tenants whose every table has rows that make sense together.

`content/` says what there is, in YAML: people, agents, their work and their words. Each room of this package turns one
theme of it into rows; `stage` collects them and `seeding` writes them. The same moment gives the same rows, to the bit.
"""

from db.demo.seeding import DemoRefused, Size, seed
from db.demo.stage import Vocabulary

__all__ = ["DemoRefused", "Size", "Vocabulary", "seed"]
