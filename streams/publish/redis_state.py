"""What one market's Redis keys should hold, and the call that writes it. No IO here.

A ``OwnedMarket`` keeps the newest publication in encoded form, and what Redis acknowledged. ``full``
sends everything, ``delta`` what differs from the acknowledged state, and ``beat`` only that the
publisher lives. ``delta`` and ``beat`` name the version that they build on. The script answers
``rewrite`` when it finds another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from streams.flow.inherited import INHERITED_DAYS
from streams.flow.market_answers import GivenAnswers
from streams.flow.market_incidents import incident_of
from streams.flow.publication import Inherited, Publication, Revision
from streams.index.incidents import Incident
from streams.index.instants import parse_instant
from streams.index.other_labels import OthersOfDay
from streams.index.panes import day_name, day_number, rfc3339
from streams.index.suspicions import market_suspected
from streams.index.values import DAY_WINDOW, Fence, Value, decimal
from streams.publish.incident_records import incident_fields
from streams.publish.keys import MEMBERS_FIELD
from streams.publish.other_records import other_fields
from streams.publish.page_records import PAGES_FIELD, pages_text
from streams.publish.ranking import ALL
from streams.publish.restless_records import RESTLESS_FIELD, restless_text
from streams.publish.shift_records import active_fields
from streams.publish.snapshot import EncodedValue, Header, encode_snapshot, entry_of
from streams.publish.suspicion_records import suspicion_fields

HISTORY_MS = 26 * 3_600_000
HISTORY_STEP_MS = 60_000
HEADLINES = ("orders", "sales")
_HEADLINE_WINDOW = "1m"

_encode_json = msgspec.json.Encoder().encode
_encode_packed = msgspec.msgpack.Encoder().encode


class RedisLimits(NamedTuple):
    """Bounds of what one market may use in Redis: bytes, entries of ``:changes``, expiry in ms."""

    expire_ms: int
    """How long values stand without a heartbeat."""
    snapshot_bytes_max: int = 1024 * 1024
    changes_max: int = 120


class Call(NamedTuple):
    """Arguments of the fenced script after its keys, and the version that they write."""

    packed: bytes
    snapshot: bytes
    changes: bytes
    fence: Fence


class OwnedMarket:
    """State of one market under one owner, from taking the market over until losing it."""

    def __init__(self, market: str, limits: RedisLimits) -> None:
        self.market = market
        self.fence: Fence | None = None
        """Version of the newest publication taken; None before the first."""
        self.left_out = 0
        """Number of values that the last snapshot had no room for."""
        self._limits = limits
        self._phase = ""
        self._as_of_ms = 0
        self._sources: dict[str, int] = {}
        self._entries: dict[str, EncodedValue] = {}
        self._days: dict[str, dict[str, str | None]] = {}
        self._history: dict[int, dict[str, int | float | None]] = {}
        self._shifts: dict[str, str] = {}
        self._shifts_acknowledged: dict[str, str] = {}
        self._suspicions: dict[str, str] = {}
        self._suspicions_acknowledged: dict[str, str] = {}
        self._incidents_taken: tuple[list[Incident], Mapping[str, GivenAnswers], int] = [], {}, 0
        self._others_taken: list[OthersOfDay] = []
        self._others: dict[str, str] = {}
        self._others_acknowledged: dict[str, str] = {}
        self._pages = "[]"
        self._restless = "[]"
        self._members = ""
        self._scopes: list[str] = []
        """``dimension:member`` of all that may have values of days; empty: it was not listed yet."""
        self._incidents: dict[str, str] = {}
        self._incidents_acknowledged: dict[str, str] = {}
        self._acknowledged: dict[str, EncodedValue] | None = None
        self._base: Fence | None = None
        self._days_unsent: dict[str, str | None] = {}
        self._history_unsent: set[int] = set()
        self._required = ""

    @property
    def acknowledged(self) -> Fence | None:
        """Version that Redis is known to hold. None: unknown, so the next call must be ``full``."""
        return self._base

    def take_publication(self, publication: Publication) -> bool:
        """Make ``publication`` the newest. False, and nothing is done, if a newer one is held."""
        if self.fence is not None and not publication.fence.follows(self.fence):
            return False
        if self.fence is not None and publication.fence.generation > self.fence.generation:
            # Points that an ``as_of`` beyond the true one made; the market sends the true ones anew.
            self._history.clear()
            self.forget_acknowledged()
        if self._base is None:
            # The next call sends everything anyway. A long outage must not pile up what is unsent.
            self._days_unsent = {}
            self._history_unsent = set()
        self.fence = publication.fence
        self._phase = publication.phase
        self._as_of_ms = publication.as_of_ms
        self._sources = publication.sources
        known = self._entries
        entries: dict[str, EncodedValue] = {}
        for value in publication.values:
            field = value.field
            entry = known.get(field)
            entries[field] = (
                entry if entry is not None and entry.value is value else entry_of(value)
            )
        self._entries = entries
        self._shifts = active_fields(publication.watched, incident_of(publication.incidents))
        self._suspicions = suspicion_fields(publication.suspicions)
        suspected = market_suspected(publication.suspicions)
        taken, before = (
            (publication.incidents, publication.answers, suspected),
            self._incidents_taken,
        )
        if taken[0] is not before[0] or taken[1] is not before[1] or suspected != before[2]:
            self._incidents_taken = taken
            self._incidents = incident_fields(*taken)
        if publication.others is not self._others_taken:
            self._others_taken = publication.others
            self._others = other_fields(self.market, publication.others)
        self._pages = pages_text(publication.pages)
        self._restless = restless_text(publication.watched)
        if publication.members is not None:
            self._members = _encode_json(publication.members).decode()
            self._scopes = [f"market:{ALL}"] + [
                f"{dimension}:{each.id}"
                for dimension, of in publication.members.members.items()
                for each in of
            ]
        if publication.inherited is not None:
            self._take_inherited(publication.inherited)
        self._take_gone(publication.gone)
        self._take_days(publication.days)
        self._take_history(publication.revisions)
        return True

    def forget_acknowledged(self) -> None:
        """Forget what Redis holds: a call failed, or Redis answered ``rewrite``."""
        self._acknowledged = None
        self._base = None

    def acknowledge(self, call: Call) -> None:
        """Note that Redis answered ``written`` to ``call``, which was made from this very state."""
        self._acknowledged = self._entries
        self._shifts_acknowledged = self._shifts
        self._suspicions_acknowledged = self._suspicions
        self._incidents_acknowledged = self._incidents
        self._others_acknowledged = self._others
        self._base = call.fence
        self._days_unsent = {}
        self._history_unsent = set()

    def full(self, published_at: str) -> Call:
        """Call that writes everything, whatever Redis holds."""
        return self._write("full", published_at)

    def delta(self, published_at: str) -> Call:
        """Call that writes what differs from the acknowledged version."""
        return self._write("delta", published_at)

    def beat(self, published_at: str) -> Call:
        """Call that says only that the acknowledged version's publisher lives at ``published_at``."""
        assert self._base is not None
        packed = _encode_packed(
            {
                "mode": "beat",
                "fence": _texts(self._base),
                "base": _texts(self._base),
                "required": self._required,
                "expire_ms": str(self._limits.expire_ms),
                "published_at": published_at,
                "published_at_offset": str(self._header("").published_at_offset),
            }
        )
        return Call(packed, b"", b"", self._base)

    def _write(self, mode: str, published_at: str) -> Call:
        assert self.fence is not None
        whole = mode == "full"
        before = self._acknowledged
        pairs, gone, changes = self._differences({} if whole else (before or {}))
        if whole:
            # Readers of the stream get what is new to them, or everything when that is unknown.
            changes = changes if before is None else self._differences(before)[2]
        as_of = rfc3339(self._as_of_ms)
        pairs += ["@as_of", as_of, "@published_at", published_at]
        pairs += ["@edition", str(self.fence.edition), "@phase", self._phase]
        pairs += [PAGES_FIELD, self._pages, RESTLESS_FIELD, self._restless]
        pairs += ["@generation", str(self.fence.generation)]
        pairs += ["@definitions", str(self.fence.definitions)]
        if self._members:
            pairs += [MEMBERS_FIELD, self._members]
        for source, as_of_ms in self._sources.items():
            pairs += [f"@as_of:{source}", rfc3339(as_of_ms)]
        days, days_gone, days_from = self._day_pairs(whole=whole)
        points, clear = self._points(whole=whole)
        shifts_new = whole or self._shifts != self._shifts_acknowledged
        suspicions_new = whole or self._suspicions != self._suspicions_acknowledged
        incidents_before = {} if whole else self._incidents_acknowledged
        incidents = self._incidents
        others_new = whole or self._others != self._others_acknowledged
        required = self._requirement(
            self._shifts_acknowledged,
            self._suspicions_acknowledged,
            self._incidents_acknowledged,
            self._others_acknowledged,
        )
        self._required = self._requirement(
            self._shifts, self._suspicions, self._incidents, self._others
        )
        packed = _encode_packed(
            {
                "mode": mode,
                "fence": _texts(self.fence),
                "base": None if self._base is None else _texts(self._base),
                "required": required,
                "expire_ms": str(self._limits.expire_ms),
                "as_of": as_of,
                "sources": _encode_json(self._source_texts()).decode(),
                "whole": "1" if before is None else "0",
                "values": pairs,
                "gone": gone,
                "changes_max": str(self._limits.changes_max),
                "history": points,
                "history_clear": clear,
                "history_from": str(self._as_of_ms - HISTORY_MS),
                "days": days,
                "days_gone": days_gone,
                "days_from": days_from,
                "members": self._scopes if whole else [],
                "shifts": _pairs(self._shifts) if shifts_new else [],
                "shifts_new": "1" if shifts_new else "0",
                "suspicions": _pairs(self._suspicions) if suspicions_new else [],
                "suspicions_new": "1" if suspicions_new else "0",
                "incidents": _pairs(
                    {
                        name: text
                        for name, text in incidents.items()
                        if incidents_before.get(name) != text
                    }
                ),
                "incidents_gone": [name for name in incidents_before if name not in incidents],
                "others": _pairs(self._others) if others_new else [],
                "others_new": "1" if others_new else "0",
            }
        )
        joined = b"[%b]" % b",".join(changes) if changes else b""
        snapshot, self.left_out = encode_snapshot(
            self._header(published_at),
            list(self._entries.values()),
            self._limits.snapshot_bytes_max,
        )
        return Call(packed, snapshot, joined, self.fence)

    def _differences(
        self, before: dict[str, EncodedValue]
    ) -> tuple[list[str], list[str], list[bytes]]:
        """(pairs to set, fields to remove, changes to publish) against an earlier state."""
        pairs: list[str] = []
        gone: list[str] = []
        changes: list[bytes] = []
        for field, entry in self._entries.items():
            old = before.get(field)
            if old is entry or (old is not None and not entry.differs(old)):
                continue
            changes.append(entry.change(field))
            if entry.text is not None:
                pairs += [field, entry.text]
            elif old is not None and old.text is not None:
                gone.append(field)
            if entry.value.status != "ok":
                pairs += [f"{field}@status", entry.value.status]
            elif old is not None and old.value.status != "ok":
                gone.append(f"{field}@status")
        for field in before.keys() - self._entries.keys():
            gone += [field, f"{field}@status"]
            changes.append(
                b'{"field":%b,"value":null,"status":"gone","revision":0}' % _encode_json(field)
            )
        return pairs, gone, changes

    def _header(self, published_at: str) -> Header:
        assert self.fence is not None
        as_of = rfc3339(self._as_of_ms)
        return Header(
            self.market,
            as_of,
            published_at,
            self.fence,
            self._phase,
            self._source_texts(),
        )

    def _source_texts(self) -> dict[str, str]:
        return {source: rfc3339(as_of_ms) for source, as_of_ms in self._sources.items()}

    def _take_inherited(self, inherited: Inherited) -> None:
        """Put the days and points from before this owner. Its own days and points come later."""
        for day, values in inherited.days.items():
            for name, number in values.items():
                self._put_day(day, name, number)
        for at_ms, *numbers in inherited.headlines:
            self._history[at_ms] = dict(zip(HEADLINES, numbers, strict=True))
            self._history_unsent.add(at_ms)

    def _take_gone(self, keys: list[str]) -> None:
        for key in keys:
            _, index, dimension, member, *window = key.split("|")
            if window[0] == DAY_WINDOW:
                day, name = window[1], f"{index}:{dimension}:{member}"
                self._days_unsent[f"{name}:{day}"] = None
                if day in self._days:
                    self._put_day(day, name, None)

    def _take_days(self, values: list[Value]) -> None:
        for value in values:
            if value.day is not None:
                name = f"{value.index}:{value.dimension}:{value.member}"
                self._put_day(value.day, name, value.value)
        if not self._days:
            return
        first = self._first_day()
        for day in [day for day in self._days if day < first]:
            for field in self._days.pop(day):
                self._days_unsent[field] = None

    def _put_day(self, day: str, name: str, number: float | None) -> None:
        field, text = f"{name}:{day}", None if number is None else decimal(number)
        self._days.setdefault(day, {})[field] = self._days_unsent[field] = text

    def _first_day(self) -> str:
        return day_name(day_number(max(self._days)) - INHERITED_DAYS + 1)

    def _day_pairs(self, *, whole: bool) -> tuple[list[str], list[str], str]:
        """(pairs to set, fields to remove, first day to keep or '' when nothing needs pruning)."""
        pairs: list[str] = []
        gone: list[str] = []
        for fields in self._days.values() if whole else (self._days_unsent,):
            for field, text in fields.items():
                if text is None:
                    gone.append(field)
                else:
                    pairs += (field, text)
        # Only Redis knows the days of earlier owners, so they are pruned when everything is sent.
        return pairs, gone, self._first_day() if whole and self._days else ""

    def _take_history(self, revisions: list[Revision]) -> None:
        for revision in revisions:
            value = revision.value
            at_ms = parse_instant(value.as_of) if _is_headline(value) else None
            if at_ms in self._history:
                self._history[at_ms] = {**self._history[at_ms], value.index: value.value}
                self._history_unsent.add(at_ms)
        fields = [f"{index}:market:{ALL}:{_HEADLINE_WINDOW}" for index in HEADLINES]
        shown = {
            index: self._entries[field].value
            for index, field in zip(HEADLINES, fields, strict=True)
            if field in self._entries
        }
        newest = next(reversed(self._history), None)
        # The point's own instant: the market's headline may wait for another source.
        at_ms = max((parse_instant(value.as_of) or 0 for value in shown.values()), default=None)
        if at_ms is not None and (
            newest is None or at_ms // HISTORY_STEP_MS > newest // HISTORY_STEP_MS
        ):
            self._history[at_ms] = {index: value.value for index, value in shown.items()}
            self._history_unsent.add(at_ms)
        while self._history and (oldest := next(iter(self._history))) < self._as_of_ms - HISTORY_MS:
            del self._history[oldest]
            self._history_unsent.discard(oldest)

    def _points(self, *, whole: bool) -> tuple[list[str], list[str]]:
        """(score, member, .. to add; from, to, .. of the scores to clear before adding)."""
        chosen = list(self._history) if whole else sorted(self._history_unsent)
        points: list[str] = []
        for at_ms in chosen:
            point = {"as_of": rfc3339(at_ms), **self._history[at_ms]}
            points += [str(at_ms), _encode_json(point).decode()]
        if whole:
            # Also without a point of its own: those of a time ahead of a reset are not true any more.
            return points, [str(chosen[0]) if chosen else f"({self._as_of_ms}", "+inf"]
        return points, [text for at_ms in chosen for text in (str(at_ms), str(at_ms))]

    def _requirement(self, *optional: Mapping[str, str]) -> str:
        """Return which keys must exist, in the order of ``MarketKeys``.

        ``optional``: content of the last keys, from ``shifts`` on.
        """
        last = (self._history, self._days, *optional)
        return "1110" + "".join("01"[bool(content)] for content in last)


def _pairs(fields: Mapping[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def _texts(fence: Fence) -> list[str]:
    return [str(number) for number in msgspec.structs.astuple(fence)]


def _is_headline(value: Value) -> bool:
    return (
        value.index in HEADLINES
        and value.dimension == "market"
        and value.window == _HEADLINE_WINDOW
        and value.day is None
    )
