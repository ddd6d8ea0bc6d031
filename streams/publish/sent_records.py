"""When people were told of incidents, in the HASH ``:sent``: id -> JSON (docs/contract.md).

`ecindex notify` writes it and keeps the truth in a file of its own. Absent means that it is not known:
not that nobody was told.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.index.formats import json_reader
from streams.index.panes import DAY_MS, rfc3339
from streams.index.values import VERSION

SENT_KEPT_MS = 36 * DAY_MS
"""Longer than an incident that is over is published."""
SENT_MAX = 60
"""Incidents of a market, the newest ones: twice as many as are published."""


class PublishedSent(msgspec.Struct, frozen=True):
    """When people were first told of an incident, and when each receiver had it. RFC 3339."""

    first: str
    receivers: dict[str, str]
    led_by: dict[str, str] = {}
    """When they were first told that a series leads it, by ``dimension:member``."""
    v: int = VERSION


_decode = json_reader(PublishedSent)
_encode = msgspec.json.Encoder().encode


def sent_text(first_ms: Mapping[str, int], led_ms: Mapping[str, int] | None = None) -> str:
    """JSON of when each receiver was first told; there is at least one.

    ``led_ms``: when the first was told that a series leads it, by series.
    """
    receivers, led_by = (
        {name: rfc3339(at_ms) for name, at_ms in sorted(each.items())}
        for each in (first_ms, led_ms or {})
    )
    return _encode(PublishedSent(rfc3339(min(first_ms.values())), receivers, led_by)).decode()


def read_sent(fields: Mapping[str, str]) -> dict[str, PublishedSent]:
    """What the HASH says, by incident. A field of a shape that is not known is left out."""
    found = {}
    for incident, text in fields.items():
        try:
            found[incident] = _decode(text)
        except msgspec.DecodeError:
            continue
    return found
