"""Hourly counts from a query of a warehouse -> seeded hours. No IO.

One row is a market, a UTC hour and a member. Columns: ``market``; ``hour`` (RFC 3339, or a date and time
that is taken as UTC); optionally ``dimension`` and ``member`` (absent or empty: the market as a whole);
and at least one of ``orders units sales_minor payments amount_minor failed``. Orders, units and sales of
a payment method are those of the orders that chose it. An hour without a row had no events. A column
that is absent or empty throughout a dimension is unknown, which is not the same as zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streams.index.history_records import SeededRow, is_plausible, seed_records
from streams.index.indices import ALL, CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.instants import parse_instant
from streams.index.methodology import OTHER, Market
from streams.index.panes import HOUR_MS
from streams.index.series import MEASURES
from streams.index.slugs import slug
from streams.sources.imports import SourceError

COLUMNS = dict(
    zip(
        MEASURES,
        ("orders", "units", "sales_minor", "payments", "amount_minor", "failed"),
        strict=True,
    )
)
"""Measure -> column of the file."""
DIMENSIONS = (MARKET, CATEGORY, METHOD, REGION, CHANNEL)
_COUNT_MAX = 2**53

Counts = list[int | None]
Cell = tuple[int, str, str]


@dataclass(slots=True)
class MarketSeed:
    """Counts of one market by (hour, dimension, member)."""

    cells: dict[Cell, Counts] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    """Labels that are not in methodology.toml. They count as `other`."""

    def given(self) -> list[tuple[str, str]]:
        """Every (dimension, measure) that the rows give, sorted."""
        return sorted(
            {
                (dimension, measure)
                for (_, dimension, _), counts in self.cells.items()
                for measure, count in zip(MEASURES, counts, strict=True)
                if count is not None
            }
        )

    def records(self, market: str) -> list[tuple[bytes, bytes]]:
        """Records for ``ecindex.history``. Equal rows give equal records."""
        hours: dict[int, list[SeededRow]] = {}
        digest = hashlib.sha256()
        for cell, counts in sorted(self.cells.items()):
            digest.update(repr((cell, counts)).encode())
            hour_ms, dimension, member = cell
            row = SeededRow(dimension, member, *counts)
            hours.setdefault(hour_ms, []).append(row)
        return seed_records(market, digest.hexdigest()[:12], hours, self.given())


def seed_of(
    rows: Iterable[tuple[int, Mapping[str, Any]]], markets: Mapping[str, Market]
) -> dict[str, MarketSeed]:
    """Seeds by market. ``rows``: (line number, values by column). Raises SourceError for a bad row."""
    found: dict[str, MarketSeed] = {}
    members = {code: members_of(market) for code, market in markets.items()}
    for line, row in rows:
        code = str(row.get("market") or "")
        if code not in markets:
            known = ", ".join(sorted(markets))
            raise SourceError(
                f"line {line}: market {code!r} is not in methodology.toml; it has {known}"
            )
        seed = found.setdefault(code, MarketSeed())
        dimension = str(row.get("dimension") or MARKET)
        if dimension not in DIMENSIONS:
            raise SourceError(
                f"line {line}: dimension {dimension!r}: expected one of {', '.join(DIMENSIONS)}"
            )
        label = str(row.get("member") or ALL)
        member = members[code][dimension](label)
        if member is None:
            seed.unknown.add(f"{dimension} {label}")
            member = OTHER
        hour_ms = _hour(row.get("hour"), line)
        counts = seed.cells.setdefault((hour_ms, dimension, member), [None] * len(MEASURES))
        for at, column in enumerate(COLUMNS.values()):
            count = _count(row.get(column), column, line)
            if count is not None:
                counts[at] = count + (counts[at] or 0)
    if not found:
        raise SourceError("found no row; expected one for each market, hour and member")
    return found


def members_of(market: Market) -> dict[str, Callable[[str], str | None]]:
    """For each dimension, a function label -> member, or None where the label is unknown."""

    def finder(names: Iterable[str], aliases: Mapping[str, str]) -> Callable[[str], str | None]:
        known = frozenset(names)

        def find(label: str) -> str | None:
            name = slug(label)
            member = aliases.get(name, name)
            return member if member in known else None

        return find

    return {
        MARKET: lambda label: ALL if label == ALL else None,
        CATEGORY: finder(market.categories, {}),
        METHOD: finder(market.methods, market.method_aliases),
        REGION: finder(market.regions, {}),
        CHANNEL: finder(market.channels, market.channel_aliases),
    }


def _hour(value: object, line: int) -> int:
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        instant_ms: int | None = round(moment.timestamp() * 1_000)
    else:
        text = str(value or "").strip()
        instant_ms = parse_instant(text)
        if instant_ms is None:
            instant_ms = parse_instant(text.replace(" ", "T") + "Z")
        if instant_ms is None:
            instant_ms = parse_instant(text.replace(" ", "T") + ":00Z")
    if instant_ms is None or instant_ms % HOUR_MS:
        raise SourceError(f"line {line}: hour {value!r}: expected a whole UTC hour")
    if not is_plausible(instant_ms):
        raise SourceError(f"line {line}: hour {value!r}: expected a year from 1970 to 2099")
    return instant_ms


def _count(value: object, column: str, line: int) -> int | None:
    if value is None or value == "":
        return None
    try:
        count = int(str(value))
    except ValueError:
        count = -1
    if not 0 <= count <= _COUNT_MAX:
        raise SourceError(f"line {line}: {column} {value!r}: expected an integer from 0 to 2^53")
    return count
