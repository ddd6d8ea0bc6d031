"""What is published: a value, what it is measured against, what it contains, and how final it is.

The names here are the contract (docs/contract.md): others read them from Redis, Kafka and Prometheus.
A ratio is one division of two integers, so two readers who divide agree to the last digit.
"""

from __future__ import annotations

import msgspec

VERSION = 1

WINDOWS_MS: dict[str, int] = {
    "1m": 60_000,
    "5m": 300_000,
    "1h": 3_600_000,
    "24h": 86_400_000,
}
"""Length of each live window in ms. 1m and 5m advance by a pane, 1h and 24h by a minute."""
MINUTE_STEP_WINDOWS = frozenset({"1h", "24h"})
DAY_WINDOW = "day"

COVERED_MIN = 0.5
"""Least coverage of a window with a value. Below it, a value would read as a drop that never was."""

Identity = tuple[str, str, str, str]
"""(index, dimension, member, window) within a market. A day value adds its date."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """One index value (docs/contract.md#a-value).

    ``as_of`` is RFC 3339; the window ends there, exclusively.

    ``value`` is None when status is not ``ok`` (``warming`` values may still carry one). ``observed`` is
    the integer counted, where the index has one. ``n`` is the number of orders or payments behind it.
    ``expected``, ``lower``, ``upper`` and ``vintage`` say what was
    expected and by which vintage (docs/methodology.md); they are None where no expectation is known.
    ``definitions`` is the version that last changed what the member counts; unset where none did.
    """

    market: str
    index: str
    dimension: str
    member: str
    window: str
    as_of: str
    value: int | float | None
    unit: str
    observed: int | None
    covered: float
    n: int
    status: str
    phase: str
    revision: int
    edition: int
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    vintage: str | None = None
    day: str | None = None
    definitions: int | msgspec.UnsetType = msgspec.UNSET
    v: int = VERSION

    @property
    def field(self) -> str:
        """Redis hash field: ``index:dimension:member:window``."""
        return f"{self.index}:{self.dimension}:{self.member}:{self.window}"

    @property
    def key(self) -> str:
        """Key in ``ecindex.values``: market|index|dimension|member|window, plus a day's date."""
        base = f"{self.market}|{self.index}|{self.dimension}|{self.member}|{self.window}"
        return base if self.day is None else f"{base}|{self.day}"


class Snapshot(msgspec.Struct, frozen=True):
    """One market's current values, as the Redis string ``:snapshot`` holds them."""

    market: str
    as_of: str
    published_at: str
    edition: int
    phase: str
    values: list[Value]
    generation: int = 0
    definitions: int = 0
    sources: dict[str, str] = {}
    """``as_of`` of each source: orders, payments. ``as_of`` is the least of those that joined."""


class Fence(msgspec.Struct, frozen=True):
    """Version of a publication. One that does not follow another never replaces it."""

    edition: int
    generation: int
    """How often an operator has set the market's ``as_of`` back."""
    definitions: int
    """Version of the market's definitions; 0 as long as only methodology.toml defines members."""
    as_of_ms: int
    """The market's headline."""
    applied: int
    """Offset in ``ecindex.partials`` that the publication includes."""

    def follows(self, held: Fence) -> bool:
        """Return whether this version may replace ``held``.

        Edition and generation decide first. Within them neither ``definitions`` nor (``as_of_ms``,
        ``applied``) may fall. A paused owner with newer rows but older definitions would otherwise
        bring back members that are gone.
        """
        mine, theirs = (self.edition, self.generation), (held.edition, held.generation)
        if mine != theirs:
            return mine > theirs
        reached = (self.as_of_ms, self.applied) >= (held.as_of_ms, held.applied)
        return reached and self.definitions >= held.definitions

    @property
    def rank(self) -> tuple[int, int, int, int, int]:
        """Which of two records of one key counts, where a later publication follows both: the larger.

        A paused owner may have published further than the new owner, by older definitions. What the new
        owner has written since by the newer ones stands, though it is of an earlier ``as_of``.
        """
        return self.edition, self.generation, self.definitions, self.as_of_ms, self.applied


def ratio(numerator: int, denominator: int) -> float | None:
    """One IEEE division; None when the denominator is 0."""
    return numerator / denominator if denominator else None


def decimal(value: float) -> str:
    """Plain decimal text without an exponent: the shortest that reads back as the same number.

    >>> decimal(12), decimal(0.5), decimal(1e-07), decimal(1e22)
    ('12', '0.5', '0.0000001', '10000000000000000000000')
    """
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, exponent = text.split("e")
    sign = "-" if mantissa.startswith("-") else ""
    digits = mantissa.lstrip("-").replace(".", "")
    point = len(mantissa.lstrip("-").split(".")[0]) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}".rstrip("0") if digits.strip("0") else "0"
    return (
        sign + digits.ljust(point, "0")[:point] + ("." + digits[point:] if digits[point:] else "")
    )
