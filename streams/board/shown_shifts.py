"""Active shifts as the page shows them: what, since when, how large, why, and how to expect one.

The records are those of ``ecindex.shifts``, as the HASH ``:shifts`` holds them. A field that is missing
is not shown. A record of a shape that this board does not know is still named.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from streams.index.formats import json_reader
from streams.index.instants import parse_instant
from streams.index.labels import label
from streams.index.panes import HOUR_MS, rfc3339
from streams.publish.answer_requests import EXPECTED_FOR_MS, measured_factor

CONTRIBUTORS_MAX = 6
FACTORED = frozenset({"market", "category", "payment_method", "region", "channel"})
"""Dimensions that `ecindex expect` accepts."""
_decode = json_reader(dict[str, Any])


class ShownContributor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member's part in the shift."""

    dimension: str
    label: str
    observed: float | None = None
    expected: float | None = None


class ShownShift(msgspec.Struct, frozen=True, omit_defaults=True):
    """One active shift. ``direction`` is 1 or -1, or 0 where the record does not state it."""

    dimension: str
    member: str
    label: str
    direction: int
    ratio: float | None = None
    lower: float | None = None
    upper: float | None = None
    observed: float | None = None
    expected: float | None = None
    start: str | None = None
    evidence: float | None = None
    clock: str | None = None
    contributors: list[ShownContributor] = []
    incident: str | None = None
    command: str = ""


def active(records: Mapping[str, str]) -> list[ShownShift]:
    """Shifts of the HASH ``:shifts``, ordered by field. A value that is no JSON object is skipped."""
    found = []
    for field, text in sorted(records.items()):
        try:
            record = _decode(text)
        except msgspec.DecodeError:
            continue
        found.append(_shift(field, record))
    return found


def _shift(field: str, record: dict[str, Any]) -> ShownShift:
    dimension, _, member = field.partition(":")
    dimension = str(record.get("dimension", dimension))
    member = str(record.get("member", member or "all"))
    interval = record.get("interval")
    size = record | interval if isinstance(interval, dict) else record
    ratio = _number(size.get("ratio"))
    start = record.get("start")
    return ShownShift(
        dimension=dimension,
        member=member,
        label=label(member),
        direction=_direction(record.get("direction"), ratio),
        ratio=ratio,
        lower=_number(size.get("lower", size.get("ratio_lower"))),
        upper=_number(size.get("upper", size.get("ratio_upper"))),
        observed=_number(size.get("observed")),
        expected=_number(size.get("expected")),
        start=start if isinstance(start, str) else None,
        evidence=_number(record.get("evidence_ratio", record.get("evidence"))),
        clock=record["clock"] if isinstance(record.get("clock"), str) else None,
        contributors=_contributors(record.get("contributors")),
        incident=record["incident"] if isinstance(record.get("incident"), str) else None,
    )


def _direction(direction: Any, ratio: float | None) -> int:
    if direction in (1, "up"):
        return 1
    if direction in (-1, "down"):
        return -1
    return 0 if ratio is None or ratio == 1 else int(math.copysign(1, ratio - 1))


def _contributors(found: Any) -> list[ShownContributor]:
    if not isinstance(found, dict):
        return []
    return [
        ShownContributor(
            str(dimension),
            label(str(each.get("member", ""))),
            _number(each.get("observed")),
            _number(each.get("expected")),
        )
        for dimension, members in found.items()
        if isinstance(members, list)
        for each in members
        if isinstance(each, dict)
    ][:CONTRIBUTORS_MAX]


def expect_command(market: str, shift: ShownShift, now_ms: int) -> str:
    """``ecindex expect MARKET MEMBER FROM TO FACTOR``, accepted and in force when it is typed now.

    It begins with the hour of the shift's start and ends in some hours; whoever runs it knows the end
    and the factor better. Empty for a series whose expectation takes no factor. People paste the command
    into a shell, so text from Redis is quoted.
    """
    if shift.dimension not in FACTORED:
        return ""
    start_ms = parse_instant(shift.start or "")
    since_ms = start_ms if start_ms is not None and 0 <= start_ms <= now_ms else now_ms
    since, until = (_hour(at_ms) for at_ms in (since_ms, now_ms + EXPECTED_FOR_MS + HOUR_MS - 1))
    factor = "unknown" if shift.ratio is None else f"{measured_factor(shift.ratio):g}"
    name = shift.member if shift.dimension == "market" else f"{shift.dimension}:{shift.member}"
    return f"ecindex expect {shlex.quote(market)} {shlex.quote(name)} {since} {until} {factor}"


def _hour(at_ms: int) -> str:
    return f"{rfc3339(at_ms // HOUR_MS * HOUR_MS)[:19]}Z"


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
