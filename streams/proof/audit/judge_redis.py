"""Judges what services read from Redis against the publication that Redis says it holds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.index.indices import SOURCES
from streams.index.panes import day_name, day_number, rfc3339
from streams.index.values import DAY_WINDOW, Snapshot, Value, decimal
from streams.proof.audit.cuts import Cut
from streams.proof.audit.expected_values import Expectations, ExpectedValue, compare, is_measured
from streams.proof.audit.judge_values import listed_by, members_by
from streams.proof.audit.report import REDIS, Report
from streams.proof.recompute.slots import GONE
from streams.publish.journal import decode_members
from streams.publish.keys import MEMBERS_FIELD
from streams.publish.restless_records import RESTLESS_FIELD
from streams.records.redis_reader import MarketRedis
from streams.records.values_log import StoredValue

DAYS_KEPT = 35
NOT_IN_SNAPSHOT = (
    "measured values left out of the snapshot, which names what they are measured against"
)
_OTHER_CUT = "levels: Redis holds another publication than the values topic"
_META = ("@as_of", "@published_at", "@edition", "@generation", "@definitions", "@phase")


class RedisJudge:
    """Compares Redis with the values that the publication it holds must show."""

    def __init__(self, expectations: Expectations, report: Report) -> None:
        self._expectations = expectations
        self._report = report

    def judge(
        self, held: MarketRedis, cut: Cut, published: Mapping[str, StoredValue] | None = None
    ) -> None:
        """Judge one market. ``published``: values of ``ecindex.values``, if it has this same cut."""
        if held.snapshot is None:
            self._report.skip(REDIS, "no snapshot gives the as_of of each input", held.market)
            return
        windows = list(self._expectations.windows(cut))
        self._judge_hash(held, cut, windows)
        self._judge_snapshot(held, held.snapshot, windows)
        self._judge_days(held, cut, published)
        for key in (held.keys.changes, held.keys.history):
            self._report.skip(REDIS, "changes and sparklines: bounded, for display only", key)

    def _judge_hash(self, held: MarketRedis, cut: Cut, windows: list[ExpectedValue]) -> None:
        left = dict(held.values)
        in_snapshot = (
            set() if held.snapshot is None else {each.field for each in held.snapshot.values}
        )
        where = held.keys.values
        self._judge_meta(held, left)
        self._judge_members(held, cut, left.pop(MEMBERS_FIELD, None))
        for wanted in windows:
            found, status = left.pop(wanted.field, None), left.pop(f"{wanted.field}@status", "ok")
            key = f"{held.market} {wanted.field}"
            if self._expectations.blind_window(wanted) or wanted.covered is None:
                self._report.skip(REDIS, GONE, key)
                continue
            self._report.judge(REDIS)
            expected = None if wanted.value is None else decimal(wanted.value)
            if expected != found:
                self._report.differs(REDIS, key, "text", expected, found, where)
            if status != wanted.status:
                self._report.differs(REDIS, key, "status", wanted.status, status, where)
        for name, found in left.items():
            if is_measured(name.partition(":")[0]):
                if held.snapshot is None or name.partition("@")[0] not in in_snapshot:
                    self._report.skip(REDIS, NOT_IN_SNAPSHOT, f"{held.market} {name}")
                continue  # judged with its expectation
            self._report.differs(REDIS, f"{held.market} {name}", "field", None, found, where)

    def _judge_members(self, held: MarketRedis, cut: Cut, found: str | None) -> None:
        """Judge the list of members; one that was never published is no fault."""
        if found is None:
            return
        self._report.judge(REDIS)
        expected: object = (cut.definitions, members_by(self._expectations.market(cut)))
        try:
            read = decode_members(found)
            shown: object = (read.definitions, listed_by(read))
        except msgspec.DecodeError as error:
            shown = str(error)
        if expected != shown:
            key = f"{held.market} {MEMBERS_FIELD}"
            self._report.differs(REDIS, key, "members", expected, shown, held.keys.values)

    def _judge_meta(self, held: MarketRedis, left: dict[str, str]) -> None:
        """Judge the fields that are no values, and take them out of ``left``."""
        where = held.keys.values
        for name in _META:
            found = left.pop(name, None)
            expected = {
                "@as_of": rfc3339(held.version.as_of_ms),
                "@edition": str(held.version.edition),
                "@generation": str(held.version.generation),
                "@definitions": str(held.version.definitions),
                "@phase": "live",
            }.get(name, found)
            if expected is None or expected != found:
                self._report.differs(
                    REDIS, f"{held.market} {name}", "text", expected or "one", found, where
                )
        left.pop("@pages", None)  # what operators say is in no log of events
        left.pop(RESTLESS_FIELD, None)  # it follows from the vintages, which are judged
        for source in SOURCES:
            # Each value is judged by what these say; the snapshot must say the same.
            found = left.pop(name := f"@as_of:{source}", None)
            shown = None if held.snapshot is None else held.snapshot.sources.get(source)
            if found != shown:
                self._report.differs(REDIS, f"{held.market} {name}", "text", shown, found, where)

    def _judge_snapshot(
        self, held: MarketRedis, snapshot: Snapshot, windows: list[ExpectedValue]
    ) -> None:
        where = held.keys.snapshot
        found = {value.field: value for value in snapshot.values}
        for name, expected, shown in (
            ("market", held.market, snapshot.market),
            ("as_of", rfc3339(held.version.as_of_ms), snapshot.as_of),
            ("edition", held.version.edition, snapshot.edition),
            ("generation", held.version.generation, snapshot.generation),
            ("definitions", held.version.definitions, snapshot.definitions),
        ):
            if expected != shown:
                self._report.differs(REDIS, held.market, name, expected, shown, where)
        for wanted in windows:
            key = f"{held.market} {wanted.field}"
            value = found.pop(wanted.field, None)
            if self._expectations.blind_window(wanted):
                self._report.skip(REDIS, GONE, key)
            elif value is None:
                # A snapshot above its limit leaves out the smallest members and says so.
                self._report.skip(REDIS, "left out of the snapshot", key)
            else:
                compare(self._report, REDIS, key, wanted, value, where)
                self._compare_version(key, wanted, held, value, where)
        for field, value in found.items():
            key = f"{held.market} {field}"
            if is_measured(value.index):
                continue  # judged with its expectation
            self._report.differs(REDIS, key, "snapshot", None, value.value, where)

    def _compare_version(
        self, key: str, wanted: ExpectedValue, held: MarketRedis, value: Value, where: str
    ) -> None:
        for name, expected, found in (
            ("as_of", rfc3339(wanted.as_of_ms), value.as_of),
            ("edition", held.version.edition, value.edition),
        ):
            if expected != found:
                self._report.differs(REDIS, key, name, expected, found, where)

    def _judge_level(
        self, held: MarketRedis, field: str, found: str, published: Mapping[str, StoredValue] | None
    ) -> None:
        """Compare a level with the values topic, whose number is judged with its base."""
        index, dimension, member, day = field.split(":")
        key = f"{held.market}|{index}|{dimension}|{member}|{DAY_WINDOW}|{day}"
        stored = None if published is None else published.get(key)
        if published is None:
            self._report.skip(REDIS, _OTHER_CUT, f"{held.market} {field}")
            return
        self._report.judge(REDIS)
        value = None if stored is None or stored.value is None else stored.value.value
        expected = None if value is None else decimal(value)
        if expected != found:
            self._report.differs(
                REDIS, f"{held.market} {field}", "text", expected, found, held.keys.days
            )

    def _judge_days(
        self, held: MarketRedis, cut: Cut, published: Mapping[str, StoredValue] | None
    ) -> None:
        where = held.keys.days
        left = dict(held.days)
        first = day_name(max(cut.days) - DAYS_KEPT + 1) if cut.days else ""
        for wanted in self._expectations.days(cut):
            assert wanted.day is not None
            assert wanted.window == DAY_WINDOW
            key = f"{held.market} {wanted.field}"
            found = left.pop(wanted.field, None)
            if found is None and wanted.day < first:
                continue
            if self._expectations.blind_day(held.market, wanted.day):
                self._report.skip(REDIS, GONE, key)
                continue
            self._report.judge(REDIS)
            expected = None if wanted.value is None else decimal(wanted.value)
            if expected != found:
                self._report.differs(REDIS, key, "text", expected, found, where)
        for field, found in left.items():
            day = field.rpartition(":")[2]
            key = f"{held.market} {field}"
            if _is_day(day) and self._expectations.blind_day(held.market, day):
                self._report.skip(REDIS, GONE, key)
            elif is_measured(field.partition(":")[0]):
                self._judge_level(held, field, found, published)
            else:
                self._report.differs(REDIS, key, "field", None, found, where)


def _is_day(text: str) -> bool:
    try:
        day_number(text)
    except ValueError:
        return False
    return True
