"""Shifts as they are published: records of ``ecindex.shifts`` and fields of the HASH ``:shifts``.

Times are RFC 3339; durations and evidence are plain numbers. A record's key names the shift for good.
A shift may be published live and again on final minutes, or again by a worker that took the market over.
It is one shift to a reader who keeps the last record of a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streams.flow.market_incidents import incident_of
from streams.flow.publication import Publication
from streams.flow.shift_watch import ActiveShift, FoundShift, SeriesStatus
from streams.index.incidents import ShiftName
from streams.index.panes import of_minute, rfc3339
from streams.index.shift_ratio import RatioInterval
from streams.index.values import VERSION
from streams.publish.journal import Record, version_headers

_encode = msgspec.json.Encoder().encode
_DIRECTIONS = {1: "up", -1: "down"}


def shift_key(market: str, dimension: str, member: str, number: int) -> str:
    """Name of a shift: the ``number``-th of this series of the market in this edition."""
    return f"{market}|{dimension}|{member}|{number}"


def shift_records(publication: Publication, topic: str) -> list[Record]:
    """One record for every shift, or end of a shift, that the step found."""
    market, fence = publication.market, publication.fence
    headers = version_headers(fence)
    incidents = incident_of(publication.incidents)
    return [
        Record(topic, key, value, headers, market)
        for key, value in (
            shift_record(
                market,
                fence.edition,
                shift,
                incidents.get((shift.dimension, shift.member, shift.number)),
            )
            for shift in publication.shifts
        )
    ]


def shift_record(
    market: str, edition: int, shift: FoundShift, incident: str | None = None
) -> tuple[bytes, bytes]:
    """(key, value) of a record of ``ecindex.shifts``: a shift that was found, or its end.

    ``incident``: id of the incident that it belongs to; None: none is known.
    """
    content = {
        "v": VERSION,
        "market": market,
        "dimension": shift.dimension,
        "member": shift.member,
        "number": shift.number,
        "event": shift.event,
        "phase": shift.phase,
        "direction": _DIRECTIONS[shift.direction],
        "start": rfc3339(of_minute(shift.start)),
        "at": rfc3339(of_minute(shift.at)),
        "clock": shift.clock,
        "evidence": shift.evidence_ratio,
        **_interval(shift.interval),
        "contributors": shift.contributors,
        "incident": incident,
        "cause": shift.cause or None,
        "edition": edition,
    }
    key = shift_key(market, shift.dimension, shift.member, shift.number)
    return key.encode(), _encode(content)


def active_fields(
    statuses: Sequence[SeriesStatus], incidents: Mapping[ShiftName, str] | None = None
) -> dict[str, str]:
    """Fields of ``:shifts``: ``dimension:member`` -> JSON of the active shift.

    ``incidents``: id of each shift's incident.
    """
    known = incidents or {}
    return {
        f"{shift.dimension}:{shift.member}": _encode(
            _active(shift, known.get((shift.dimension, shift.member, shift.number)))
        ).decode()
        for status in statuses
        if (shift := status.shift) is not None
    }


def _active(shift: ActiveShift, incident: str | None) -> dict[str, Any]:
    return {
        "v": VERSION,
        "number": shift.number,
        "direction": _DIRECTIONS[shift.direction],
        "start": rfc3339(of_minute(shift.start)),
        "found_at": rfc3339(of_minute(shift.found_at)),
        "clock": shift.clock,
        "evidence": shift.evidence_ratio,
        **_interval(shift.interval),
        "contributors": shift.contributors,
        "incident": incident,
    }


def _interval(interval: RatioInterval) -> dict[str, float]:
    return {
        "observed": interval.observed,
        "expected": interval.expected,
        "ratio": interval.ratio,
        "lower": interval.lower,
        "upper": interval.upper,
    }
