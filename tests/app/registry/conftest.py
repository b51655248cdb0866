"""What the registry's tests share with those of the other governed domains."""

from tests.governed import GENOME, GENOME_HASH, Registry

__all__ = ["GENOME", "GENOME_HASH", "Registry"]
