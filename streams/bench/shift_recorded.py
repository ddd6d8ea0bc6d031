"""Recorded series with labelled windows, judged by the shifts that the workers' own classes find.

A series is judged after ``PAST_DAYS`` of its own past: before that a service has seen too little of it
to promise anything. A record that is shorter is watched and judged nowhere.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streams.index.demand import SCALE
from streams.index.panes import MINUTE_MS, rfc3339
from streams.index.shift_budget import ShiftRules
from streams.rehearsal.market_rehearsal import Rehearsed
from streams.rehearsal.recorded_counts import RecordedCounts, watch

PAST_DAYS = 28
"""Days of real past before a record is judged."""
_DAY_MINUTES = 1_440

Windows = Sequence[tuple[int, int]]
"""(first minute, last minute) of what is labelled as unusual."""


def judge_nab(directory: Path) -> list[dict[str, Any]]:
    """Judge every NAB file in ``directory``, which also holds ``windows.json``.

    Values are rounded to counts of five minutes. Times without a zone are read as UTC.
    """
    windows = {
        Path(name).name: [(_minute(start), _minute(end)) for start, end in spans]
        for name, spans in json.loads((directory / "windows.json").read_text()).items()
    }
    return [
        {"file": path.name, **judge(read_nab(path), "UTC", windows.get(path.name, []))}
        for path in sorted(directory.glob("*.csv"))
    ]


def judge(recorded: RecordedCounts, zone: str, windows: Windows) -> dict[str, Any]:
    """Watch a series; return its labelled windows that were found, and each page with its reason.

    A page within a window finds it. A page outside every window counts against the budget. Windows
    that end within the first ``PAST_DAYS`` are not judged, nor are pages found in them.
    """
    from_minute = recorded.first_minute + PAST_DAYS * _DAY_MINUTES
    last_minute = recorded.first_minute + len(recorded.counts) * recorded.step_minutes
    pages = [
        one
        for one in watch(recorded, zone, ShiftRules())
        if one.shift.event == "page" and one.shift.at >= from_minute
    ]
    judged = [(start, end) for start, end in windows if end >= from_minute]
    outside = [one for one in pages if not _within(one.shift.at, windows)]
    return {
        "days": round((last_minute - recorded.first_minute) / _DAY_MINUTES, 1),
        "days_judged": round(max(0, last_minute - from_minute) / _DAY_MINUTES, 1),
        "windows": len(judged),
        "windows_found": sum(
            any(start <= one.shift.at <= end for one in pages) for start, end in judged
        ),
        "windows_before": len(windows) - len(judged),
        "pages": [_reason(one, outside=one in outside) for one in pages],
        "pages_outside": len(outside),
    }


def _within(minute: int, windows: Windows) -> bool:
    return any(start <= minute <= end for start, end in windows)


def _reason(one: Rehearsed, *, outside: bool) -> dict[str, Any]:
    shift = one.shift
    return {
        "at": rfc3339(shift.at * MINUTE_MS),
        "series": f"{shift.dimension}/{shift.member}",
        "clock": shift.clock,
        "minutes": shift.at - shift.start,
        "observed": round(shift.interval.observed),
        "expected": round(shift.interval.expected, 1),
        "factor": round(shift.interval.ratio, 2),
        "noise": None if one.noise is None else round((one.noise.hour / SCALE) ** 0.5, 3),
        "restless": one.noise is not None and one.noise.restless,
        "outside": outside,
    }


def read_nab(path: Path) -> RecordedCounts:
    """Read a NAB file: a row each five minutes. A missing row counts as 0."""
    with path.open(newline="") as lines:
        rows = [(_minute(row["timestamp"]), float(row["value"])) for row in csv.DictReader(lines)]
    first = rows[0][0] // 60 * 60
    counts = [0] * ((rows[-1][0] - first) // 5 + 1)
    for minute, value in rows:
        counts[(minute - first) // 5] += round(value)
    return RecordedCounts(first, 5, counts)


def _minute(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) // 60
