"""What tokens cost (COST-2): pure data and pure functions. Prices are US dollars a million tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

MILLION: Final = 1_000_000
CACHE_READ_SHARE: Final = Decimal("0.1")
"""Price of a token read from a provider's cache, as a share of a token sent."""
CACHE_WRITE_SHARE: Final = Decimal("1.25")
PRICES_KEY: Final = "prices"
"""Key of a provider's configuration: `{model: {"input": usd, "output": usd}}`, which come before ours."""
MISMATCH: Final = Decimal("0.1")
"""A reported cost that differs by more than this share from the computed one is marked."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a model was sent and what it wrote."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def __bool__(self) -> bool:
        return bool(self.input or self.output or self.cache_read or self.cache_write)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens."""

    input: Decimal
    output: Decimal


def _price(sent: str, written: str) -> Price:
    return Price(Decimal(sent), Decimal(written))


PRICES: Final[Mapping[str, Price]] = {
    "gpt-4": _price("30", "60"),
    "gpt-4-turbo": _price("10", "30"),
    "gpt-3.5-turbo": _price("0.5", "1.5"),
    "claude-3-opus": _price("15", "75"),
    "claude-3-sonnet": _price("3", "15"),
    "claude-3-haiku": _price("0.25", "1.25"),
}
"""By the beginning of a model's name; of several that fit the longest counts."""
OTHERWISE: Final = _price("1", "3")


def price_of(model: str, own: Any = None) -> Price:
    """The price of a model: `own`, a provider's `prices`, comes first, by whole names; then ours."""
    listed = own.get(model) if isinstance(own, Mapping) else None
    if isinstance(listed, Mapping) and all(_is_amount(listed.get(key)) for key in ("input", "output")):
        return Price(Decimal(str(listed["input"])), Decimal(str(listed["output"])))
    fitting = [name for name in PRICES if model.startswith(name)]
    return PRICES[max(fitting, key=len)] if fitting else OTHERWISE


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def cost_of(tokens: Tokens, price: Price) -> Decimal:
    """US dollars that tokens cost."""
    sent = tokens.input + tokens.cache_read * CACHE_READ_SHARE + tokens.cache_write * CACHE_WRITE_SHARE
    return (sent * price.input + tokens.output * price.output) / MILLION


def is_mismatch(reported: Decimal, computed: Decimal) -> bool:
    """Whether a reported cost is too far from what its tokens cost; without tokens there is nothing to compare."""
    return computed > 0 and abs(reported - computed) > MISMATCH * computed
