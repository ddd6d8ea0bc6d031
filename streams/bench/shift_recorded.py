"""The shift detector over a recorded series, as a worker would have run it, and NAB's files.

The expectation of each day is learnt from the hours before it; hours in a shift are not learnt. The
detector then runs step by step. The record's first whole week, six times over, serves as the past before
the record begins. An operator who seeds a new service with a typical week gives the worker that past.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from streams.index import shift_detector as detector
from streams.index.demand import SCALE
from streams.index.expectation import Vintage, fit
from streams.index.hours import MARGIN_HOURS, LocalHours, calendar_of
from streams.index.minutes import minutes_of
from streams.index.panes import HOUR_MS, MINUTE_MS, rfc3339
from streams.index.season import ColumnRelations
from streams.index.shift_budget import ShiftRules, page_days
from streams.index.shift_detector import DetectorRules, ShiftEvent, ShiftState

_WEEK_DAYS = 7
_ALONE = ColumnRelations(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class RecordedCounts:
    """Counts of a series.

    ``counts[i]`` is the count of the i-th step of ``step_minutes``, counted from ``first_minute``.
    """

    first_minute: int
    step_minutes: int
    counts: Sequence[int]


def watch(recorded: RecordedCounts, zone: str, rules: DetectorRules) -> list[ShiftEvent]:
    """Events of the shifts that the detector finds, from the eighth whole local day on."""
    return list(_Watch(recorded, zone, rules).events())


class _Watch:
    def __init__(self, recorded: RecordedCounts, zone: str, rules: DetectorRules) -> None:
        self._recorded = recorded
        self._rules = rules
        self._state = ShiftState.fresh(rules)
        self._hours = LocalHours(zone)
        self._by_hour: dict[int, int] = {}
        for at, count in enumerate(recorded.counts):
            hour = (recorded.first_minute + at * recorded.step_minutes) // 60 * HOUR_MS
            self._by_hour[hour] = self._by_hour.get(hour, 0) + count
        last_minute = recorded.first_minute + len(recorded.counts) * recorded.step_minutes
        days = self._hours.local_days
        self._first = days.day_of(recorded.first_minute * MINUTE_MS - 1) + 1
        self._days = range(self._first + _WEEK_DAYS, days.day_of(last_minute * MINUTE_MS))
        self._shifted: list[list[int]] = []
        """[first minute, minute after the last] of each shift; the last may be open."""

    def events(self) -> Iterator[ShiftEvent]:
        """Yield the events of all watched days, in order."""
        for day in self._days:
            for event in self._day(self._vintage(day)):
                if event.kind == "end":
                    self._shifted[-1][1] = event.at
                else:
                    self._shifted.append([event.start, 2**60])
                yield event

    def _vintage(self, day: int) -> Vintage:
        calendar = calendar_of(self._hours, day)
        counts = np.array([[float(self._count(hour_ms))] for hour_ms in calendar.hours_ms])
        learnt = np.array([[float(self._teaches(hour_ms))] for hour_ms in calendar.hours_ms])
        return fit(calendar, counts, _ALONE, learnt)

    def _count(self, hour_ms: int) -> int:
        while self._hours.day_of_hour(hour_ms) < self._first:
            hour_ms = self._hours.days_before(hour_ms, -_WEEK_DAYS)
        return self._by_hour.get(hour_ms, 0)

    def _teaches(self, hour_ms: int) -> bool:
        minute = hour_ms // MINUTE_MS
        return not any(start < minute + 60 and minute < end for start, end in self._shifted)

    def _day(self, vintage: Vintage) -> Iterator[ShiftEvent]:
        hours = vintage.expected[0]
        noise = vintage.noise[0].hour / SCALE
        step = self._recorded.step_minutes
        for at in range(MARGIN_HOURS, len(hours) - MARGIN_HOURS):
            until = minutes_of(hours, at)
            first = vintage.target_ms[at] // MINUTE_MS
            for minute in range(0, 60, step):
                position = (first + minute - self._recorded.first_minute) // step
                yield from detector.advance(
                    self._state,
                    self._rules,
                    first + minute + step - 1,
                    self._recorded.counts[position],
                    until[minute + step] - until[minute],
                    noise,
                )


def judge_nab(directory: Path) -> list[dict[str, Any]]:
    """Hits and false alarms on every NAB file in ``directory``, which also holds ``windows.json``.

    Values are rounded to counts of five minutes. Times without a zone are read as UTC. A page within a
    window hits it. A page outside every window is a false alarm. Windows of the first week are counted
    apart: the series was learnt from them.
    """
    windows = {
        Path(name).name: spans
        for name, spans in json.loads((directory / "windows.json").read_text()).items()
    }
    rules = ShiftRules()
    return [
        _judge(path, windows.get(path.name, []), DetectorRules(page_days(rules, rules.all)))
        for path in sorted(directory.glob("*.csv"))
    ]


def _judge(path: Path, windows: list[list[str]], rules: DetectorRules) -> dict[str, Any]:
    recorded = read_nab(path)
    spans = [(_minute(start), _minute(end)) for start, end in windows]
    learnt_until = recorded.first_minute + (_WEEK_DAYS + 1) * 1440
    pages = [event for event in watch(recorded, "UTC", rules) if event.kind == "page"]
    hit = [any(start <= page.at <= end for page in pages) for start, end in spans]
    false = [page for page in pages if not any(start <= page.at <= end for start, end in spans)]
    return {
        "file": path.name,
        "days_watched": round(len(recorded.counts) * recorded.step_minutes / 1440 - _WEEK_DAYS),
        "windows": len(spans),
        "windows_in_the_week_learnt_from": sum(end < learnt_until for _, end in spans),
        "hits": sum(hit),
        "pages": [
            {"at": rfc3339(page.at * MINUTE_MS), "ratio": round(page.interval.ratio, 2)}
            for page in pages
        ],
        "false_alarms": len(false),
    }


def read_nab(path: Path) -> RecordedCounts:
    """Read a NAB file: a row each five minutes. A missing row counts as 0."""
    with path.open(newline="") as lines:
        rows = [(_minute(row["timestamp"]), float(row["value"])) for row in csv.DictReader(lines)]
    first = rows[0][0] // 5 * 5
    counts = [0] * ((rows[-1][0] - first) // 5 + 1)
    for minute, value in rows:
        counts[(minute - first) // 5] += round(value)
    return RecordedCounts(first, 5, counts)


def _minute(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) // 60
