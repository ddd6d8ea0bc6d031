"""Parts shared by the importers: exact money, naive local times, and a tally of what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from streams.index.currencies import exponent
from streams.index.event_types import EVENT_SUM_MAX
from streams.sources.outgoing import Outgoing

Row = Mapping[str, str]
"""A row of a CSV file: column name -> text. A missing value is empty."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DIGITS_MAX = 30  # more digits than any amount within EVENT_SUM_MAX has
_CACHED_TIMES_MAX = 200_000


class SourceError(ValueError):
    """The data is not of the expected kind. The text says what was expected and what was found."""


@dataclass(slots=True)
class Tally:
    """Counts of an import: rows read by table, rows left out by reason, values filled in by field."""

    read: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Imported:
    """Events ordered by (occurred_at, event id). ``events`` encodes them while it is consumed, once.

    ``markets``: codes of the markets that have events.
    """

    count: int
    events: Iterator[Outgoing]
    tally: Tally
    markets: frozenset[str]


def minor_units(text: str, currency: str) -> int | None:
    """Exact amount in minor units. None when it is no amount, or finer than a minor unit.

    None too when it is larger than an event may be.

    >>> minor_units("199.9", "BRL"), minor_units("0.001", "GBP"), minor_units("R$ 5", "BRL")
    (19990, None, None)
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number:
        return 0
    if not number.is_finite() or abs(number.adjusted()) > _DIGITS_MAX:
        return None
    # Integers are used because Decimal arithmetic rounds to the precision of its context.
    sign, digits, power = number.as_tuple()
    assert isinstance(power, int), "finite numbers have an integer exponent"
    shift = power + exponent(currency)
    amount = int("".join(map(str, digits)))
    if shift >= 0:
        amount *= 10**shift
    else:
        amount, finer = divmod(amount, 10**-shift)
        if finer:
            return None
    return (-amount if sign else amount) if amount <= EVENT_SUM_MAX else None


class LocalTimes:
    """Naive local times of one zone -> UTC epoch ms.

    A time that occurs twice (clocks go back) is read as the first of the two. A time that does not exist
    (clocks go forward) is moved forward by the gap: 00:30 in a night that jumps from 00:00 to 01:00 is
    read as 01:30. Both follow from reading with ``fold=0``.
    """

    __slots__ = ("_cache", "_zone")

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._cache: dict[str, int] = {}

    def instant_ms(self, text: str) -> int | None:
        """UTC epoch ms of ``YYYY-MM-DD HH:MM[:SS[.f]]``. None for other text, or with an offset."""
        known = self._cache.get(text)
        if known is not None:
            return known
        try:
            local = datetime.fromisoformat(text)
        except ValueError:
            return None
        found = self.of(local)
        if found is not None:
            if len(self._cache) >= _CACHED_TIMES_MAX:
                self._cache.clear()
            self._cache[text] = found
        return found

    def of(self, local: datetime) -> int | None:
        """UTC epoch ms of a naive local time; None when the time has an offset."""
        if local.tzinfo is not None:
            return None
        try:
            return (local.replace(tzinfo=self._zone, fold=0) - _EPOCH) // _MILLISECOND
        except OverflowError:
            return None
