"""A vintage as level 2 keeps and journals it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from streams.index.expectation import Vintage
from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.noise import Noise
from streams.index.panes import HOUR_MS, day_name, rfc3339
from streams.index.series import SeriesTable

_WIDE = 2**63


class VintageRecord(msgspec.Struct, array_like=True):
    """Table record of a vintage. ``sequence``: 1, and one more for each change by a late seed or factor.

    ``expected``: for each series, its hours from ``first_ms`` on. An empty list: no expectation. One
    number: it holds in every hour (for most series it is 0). A number wider than 64 bits is decimal
    text.
    """

    day: int
    sequence: int
    basis: str
    first_ms: int
    hours: int
    expected: list[list[int | str]]
    noise: list[list[int | str]]
    learnt: list[int]
    v: int = 0


encode_vintage = numbered_encoder()
decode_vintage = numbered_decoder(VintageRecord, "an expectation of the merged table")


@dataclass(slots=True)
class HeldVintage:
    """A vintage in memory. ``basis``: fingerprint of the seeds and factors it was learnt with."""

    vintage: Vintage
    sequence: int
    basis: str

    @property
    def name(self) -> str:
        """Name that values carry: the local day, and the sequence unless it is the first."""
        day = day_name(self.vintage.day)
        return day if self.sequence == 1 else f"{day}.{self.sequence}"

    def record(self) -> VintageRecord:
        """Table record."""
        vintage = self.vintage
        return VintageRecord(
            day=vintage.day,
            sequence=self.sequence,
            basis=self.basis,
            first_ms=vintage.target_ms[0],
            hours=len(vintage.target_ms),
            expected=[_packed(hours) for hours in vintage.expected],
            noise=[
                [_wire(n) for n in (each.hour, each.day, each.dispersion, each.tail)]
                for each in vintage.noise
            ],
            learnt=list(vintage.learnt_days),
        )


class LearntVintage(NamedTuple):
    """A vintage that a step has learnt, with the table of its series."""

    held: HeldVintage
    table: SeriesTable

    def series(self) -> list[dict[str, Any]]:
        """Return the journal's entry for each series that has an expectation."""
        return journal_series(self.held, self.table)


def held_of(record: VintageRecord) -> HeldVintage:
    """Return the vintage that a table record holds."""
    hours = record.hours
    target = range(record.first_ms, record.first_ms + hours * HOUR_MS, HOUR_MS)
    vintage = Vintage(
        day=record.day,
        target_ms=tuple(target),
        expected=tuple(_unpacked(series, hours) for series in record.expected),
        noise=tuple(Noise(*map(int, each)) for each in record.noise),
        learnt_days=tuple(record.learnt),
    )
    return HeldVintage(vintage, record.sequence, record.basis)


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


def _wire(value: int) -> int | str:
    return value if -_WIDE <= value < _WIDE else str(value)


def _packed(hours: tuple[int, ...]) -> list[int | str]:
    same = len(hours) > 1 and len(set(hours)) == 1
    return [_wire(hour) for hour in (hours[:1] if same else hours)]


def _unpacked(hours: list[int | str], count: int) -> tuple[int, ...]:
    found = tuple(int(hour) for hour in hours)
    return found * count if len(found) == 1 else found
