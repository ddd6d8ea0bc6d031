"""A vintage as level 2 keeps and journals it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from streams.index.expectation import Vintage
from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.kept_members import Renamed, carried, scope_of_text, text_of
from streams.index.learning import Scope
from streams.index.noise import Noise
from streams.index.panes import HOUR_MS, day_name, rfc3339
from streams.index.series import MEASURES, SeriesTable

_WIDE = 2**63


class SeriesRecord(NamedTuple):
    """Expectation of one series: its hours, its noise, and how many days it was learnt from.

    An empty list: no expectation. One number: it holds in every hour (for most series it is 0). A number
    wider than 64 bits is decimal text.
    """

    expected: list[int | str]
    noise: list[int | str]
    learnt: int


class VintageRecord(msgspec.Struct, array_like=True):
    """Table record of a vintage. ``sequence``: 1, and one more for each change by a late seed or factor.

    ``names``: each ``dimension:member``. ``series``: of each its series, by measure in the order of
    ``MEASURES``; their hours begin at ``first_ms``. ``definitions``: version that the members are of.
    """

    day: int
    sequence: int
    definitions: int
    basis: str
    first_ms: int
    hours: int
    names: list[str]
    series: list[list[SeriesRecord]]
    v: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Of several records of a day the one of the largest rank counts."""
        return self.definitions, self.sequence


encode_vintage = numbered_encoder()
decode_vintage = numbered_decoder(VintageRecord, "an expectation of the merged table")


@dataclass(slots=True)
class HeldVintage:
    """A vintage in memory. ``basis``: fingerprint of the seeds and factors it was learnt with.

    ``definitions``: version of those it was learnt under.
    """

    vintage: Vintage
    sequence: int
    basis: str
    definitions: int = 0

    @property
    def name(self) -> str:
        """Name that values carry: the local day, and the sequence unless it is the first."""
        day = day_name(self.vintage.day)
        return day if self.sequence == 1 else f"{day}.{self.sequence}"

    @property
    def rank(self) -> tuple[int, int]:
        """As of its record."""
        return self.definitions, self.sequence

    def record(self, table: SeriesTable) -> VintageRecord:
        """Table record; ``table``: its series."""
        vintage = self.vintage
        members: dict[Scope, list[SeriesRecord]] = {}
        for scope, hours, noise, learnt in zip(
            table.scopes, vintage.expected, vintage.noise, vintage.learnt_days, strict=True
        ):
            own = [_wire(n) for n in (noise.hour, noise.day, noise.dispersion, noise.tail)]
            members.setdefault(scope, []).append(SeriesRecord(_packed(hours), own, learnt))
        return VintageRecord(
            day=vintage.day,
            sequence=self.sequence,
            definitions=self.definitions,
            basis=self.basis,
            first_ms=vintage.target_ms[0],
            hours=len(vintage.target_ms),
            names=list(map(text_of, members)),
            series=list(members.values()),
        )


class LearntVintage(NamedTuple):
    """A vintage that a step has learnt, with the table of its series."""

    held: HeldVintage
    table: SeriesTable

    def record(self) -> VintageRecord:
        """Table record."""
        return self.held.record(self.table)

    def series(self) -> list[dict[str, Any]]:
        """Return the journal's entry for each series that has an expectation."""
        return journal_series(self.held, self.table)


def held_of(record: VintageRecord, table: SeriesTable, renamed: Renamed) -> HeldVintage:
    """Return the vintage that a table record holds, by the series of now.

    A member that the record does not name has no expectation; one that is gone is left out.
    """
    hours = record.hours
    target = range(record.first_ms, record.first_ms + hours * HOUR_MS, HOUR_MS)
    kept = {scope_of_text(name): at for at, name in enumerate(record.names)}
    found = carried(list(kept), frozenset(table.scopes), renamed)
    series = [
        record.series[kept[found[each.scope]]][MEASURES.index(each.measure)]
        if each.scope in found
        else _UNKNOWN
        for each in table.series
    ]
    vintage = Vintage(
        day=record.day,
        target_ms=tuple(target),
        expected=tuple(_unpacked(each.expected, hours) for each in series),
        noise=tuple(Noise(*map(int, each.noise)) for each in series),
        learnt_days=tuple(each.learnt for each in series),
    )
    return HeldVintage(vintage, record.sequence, record.basis, record.definitions)


def journal_series(held: HeldVintage, table: SeriesTable) -> list[dict[str, Any]]:
    """Return the journal's entry for each series that has an expectation.

    ``expected``: integers in millionths, one for each hour from ``first_hour`` on, which lies some
    hours before the day begins. ``noise_hour``, ``noise_day`` and ``dispersion`` are in millionths
    too.
    """
    vintage = held.vintage
    first = rfc3339(vintage.target_ms[0])
    return [
        {
            "dimension": series.scope[0],
            "member": series.scope[1],
            "measure": series.measure,
            "first_hour": first,
            "expected": list(hours),
            "noise_hour": noise.hour,
            "noise_day": noise.day,
            "dispersion": noise.dispersion,
            "learnt_days": days,
        }
        for series, hours, noise, days in zip(
            table.series, vintage.expected, vintage.noise, vintage.learnt_days, strict=True
        )
        if hours and any(hours)
    ]


_UNKNOWN = SeriesRecord([], [0, 0, 0, 0], 0)


def _wire(value: int) -> int | str:
    return value if -_WIDE <= value < _WIDE else str(value)


def _packed(hours: tuple[int, ...]) -> list[int | str]:
    same = len(hours) > 1 and len(set(hours)) == 1
    return [_wire(hour) for hour in (hours[:1] if same else hours)]


def _unpacked(hours: list[int | str], count: int) -> tuple[int, ...]:
    found = tuple(int(hour) for hour in hours)
    return found * count if len(found) == 1 else found
