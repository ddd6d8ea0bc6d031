"""Judges the journal: closings equal the log, and the last value of a key is the current one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from streams.flow.merged import DAY_KIND, HOUR, QUARTERS_KEPT_MS
from streams.flow.state import DAY, SlotKey
from streams.index.indices import MARKET, SHOPPER_INDICES
from streams.index.instants import parse_instant
from streams.index.level import LEVEL
from streams.index.methodology import Market, Methodology
from streams.index.panes import DAY_MS, HOUR_MS, LocalDays, day_name, rfc3339
from streams.index.values import Fence, Value
from streams.proof.audit.expected_values import has_own_limits
from streams.proof.audit.judge_expected import ExpectedJudge
from streams.proof.audit.judge_levels import UNKNOWN
from streams.proof.audit.judge_merged import MergedLog
from streams.proof.audit.report import JOURNAL, Report
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.formulas import Expected, day_values, shopper_values, window_values
from streams.proof.recompute.member_sums import SumsByVersion
from streams.proof.recompute.slots import GONE, Blind, SlotCalendar
from streams.proof.recompute.sums import Sums, add_sums, of_buyers
from streams.records.journal_record import JournalRecord, read_journaled
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord
from streams.records.values_log import MarketValues

_CUT_LABELS = "members of a slot that was closed again from labels that were cut, and are gone"
LABELS_WHOLE_MS = {HOUR: 22 * HOUR_MS, DAY_KIND: 30 * DAY_MS}
"""Time after the end of a slot for which level 2 certainly has all of its labels."""
_CUT = "the beginning of the journal is gone"
FORGOTTEN = "by definitions that ecindex.definitions no longer has"


class _Journaled(NamedTuple):
    version: Fence
    value: Value
    where: str


_Pair = tuple[str, object, object]
Name = tuple[str, str, str]
"""(index, dimension, member)."""


def _closing_pairs(expected: Expected | None, found: Value, kind: str) -> list[_Pair]:
    """Return (field, expected, found) for each judged field of a value in a closing."""
    if expected is None:
        return [("value", None, found.value)]
    pairs: list[_Pair] = [
        ("observed", expected.observed, found.observed),
        ("n", expected.n, found.n),
        ("phase", "final", found.phase),
        ("unit", expected.unit, found.unit),
    ]
    # How much of an hour was covered depends on what was known when it closed.
    if found.status != "filling" or kind == "day":
        pairs.append(("value", expected.value, found.value))
        if has_own_limits(expected, found):
            limits = (found.lower, found.upper)
            pairs += zip(("lower", "upper"), (expected.lower, expected.upper), limits, strict=True)
    return pairs


def _name_of(text: str) -> Name:
    index, dimension, member = text.split(":", 2)
    return index, dimension, member


def _seen(expected: Expected | None) -> tuple[object, ...]:
    """Return what readers see of a value; a member that counted nothing need not be named."""
    if expected is None or not expected.observed:
        return (None,)
    return expected.value, expected.observed, expected.n


def _are_seen_alike(one: dict[Name, Expected], other: dict[Name, Expected]) -> bool:
    return all(_seen(one.get(each)) == _seen(other.get(each)) for each in one.keys() | other.keys())


class VersionSums:
    """Sums of hours and days by one version of each market's definitions."""

    def __init__(self) -> None:
        self.hours: dict[tuple[str, int], Sums] = {}
        self.days: dict[tuple[str, int], Sums] = {}
        self.buyers: dict[tuple[str, int], Sums] = {}
        """(market, local day) -> sums and registers of its shoppers, by when they bought."""

    def add(self, slot: SlotKey, sums: Sums, local_days: LocalDays) -> None:
        """Add the sums of a slot from one source partition."""
        if slot.book == DAY:
            add_sums(self.days.setdefault((slot.market, slot.slot), Sums()), sums)
            return
        hour = slot.slot - slot.slot % HOUR_MS
        add_sums(self.hours.setdefault((slot.market, hour), Sums()), sums)
        bought = self.buyers.setdefault((slot.market, local_days.day_of(slot.slot)), Sums())
        add_sums(bought, of_buyers(sums))


_NO_SUMS = VersionSums()


class FinalSums:
    """Sums of hours and days over all source partitions, from the whole log, by each version."""

    def __init__(
        self, methodology: Methodology, defined: DefinedMarkets, published: Mapping[str, int]
    ) -> None:
        """``published``: version of the definitions by which each market is published."""
        self._defined = defined
        self._published = {code: published.get(code, 0) for code in methodology.markets}
        self._of: dict[int, VersionSums] = {}
        self._values: dict[tuple[str, str, int, int], dict[Name, Expected]] = {}

    def add(self, slot: SlotKey, by: SumsByVersion, local_days: LocalDays) -> None:
        """Add a slot of one source partition."""
        for version, sums in by.all():
            self._of.setdefault(version, VersionSums()).add(slot, sums, local_days)

    def of(self, market: str, version: int | None = None) -> VersionSums:
        """Return the sums by a version of a market; None: by that of its newest publication."""
        return self._of.get(self._published[market] if version is None else version, _NO_SUMS)

    def values(
        self, market: str, kind: str, slot: int, version: int
    ) -> dict[Name, Expected] | None:
        """(index, dimension, member) -> expected value of an hour (by start) or day (by number).

        None: the log of definitions does not have the version.
        """
        spec = self._defined.market(market, version)
        if spec is None:
            return None
        known = self._values.get((market, kind, slot, version))
        if known is None:
            of = self.of(market, version)
            sums = (of.hours if kind == "hour" else of.days).get((market, slot), Sums())
            known = self.values_of(spec, kind, slot, version, sums)
            self._values = {
                (market, kind, slot, version): known
            }  # closings' records are consecutive
        return known

    def values_of(
        self, market: Market, kind: str, slot: int, version: int, sums: Sums
    ) -> dict[Name, Expected]:
        """Return the expected values of sums of an hour or day, with its shoppers."""
        if kind == "hour":
            found, bought = window_values(market, sums, sums), sums
        else:
            found = day_values(market, sums)
            bought = self.of(market.code, version).buyers.get((market.code, slot), Sums())
        return {each.name: each for each in (*found, *shopper_values(bought))}

    def made_of_cut(
        self, merged: MergedLog, market: str, kind: str, slot: int, version: int
    ) -> dict[Name, Expected] | None:
        """Return the values of a slot that definitions of later read from labels that were cut."""
        spec = self._defined.market(market, version)
        own = HOUR if kind == "hour" else DAY_KIND
        sums = merged.read_from_cut(own, market, slot, version)
        if spec is None or sums is None:
            return None
        if kind == "hour":
            sums.buyers = self.of(market, version).hours.get((market, slot), Sums()).buyers
        return self.values_of(spec, kind, slot, version, sums)


class JournalLog:
    """The journal, read in order. Closings are compared when they are read."""

    def __init__(
        self,
        methodology: Methodology,
        published: dict[str, MarketValues],
        finals: FinalSums,
        calendar: SlotCalendar,
        blind: Blind,
        report: Report,
        expected: ExpectedJudge,
        merged: MergedLog,
    ) -> None:
        """``merged``: level 2's table, judged."""
        self._merged = merged
        self._methodology = methodology
        self._published = published
        self._expected = expected
        self._finals = finals
        self._calendar = calendar
        self._blind = blind
        self._report = report
        self._last: dict[str, _Journaled] = {}
        self._minutes: dict[str, Fence] = {}
        """Version of each market's last record of changed values."""
        self._closed: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._wrong: dict[str, tuple[list[_Pair], str]] = {}
        self._named: dict[tuple[str, str, int], set[Name]] = {}
        self._closed_by: dict[tuple[str, str, int], int] = {}
        """Version of the definitions by which each hour and day was closed last."""

    def apply_record(self, stored: Stored) -> None:
        """Apply the next record."""
        read = read_journaled(stored)
        if isinstance(read, UnreadableRecord):
            self._report.unreadable(JOURNAL, read)
            return
        record, version = read.record, read.version
        market = self._published.get(record.market)
        if market is None or market.version is None or not market.version.follows(version):
            return  # its publication is not complete yet
        if record.edition != self._methodology.edition:
            reason = f"journaled under edition {record.edition}"
            self._report.skip(JOURNAL, reason, stored.where)
            return
        self._expected.take_journal(record, version, stored)
        if record.kind == "minute":
            self._minute(record, version, stored.where)
        elif record.kind in ("hour", "day"):
            self._closing(record, version, stored.where)
        elif record.kind == "reset":
            self._report.skip(JOURNAL, "resets: what an operator has declared", stored.where)
        elif record.kind == "definitions":
            reason = "definitions: their topic is read, and values are judged by it"
            self._report.skip(JOURNAL, reason, stored.where)
        elif record.kind == "base":
            reason = "bases: the current one is judged as `expected`"
            self._report.skip(JOURNAL, reason, stored.where)
        elif record.kind == "vintage":
            reason = "vintages: those that values name are judged as `expected`"
            self._report.skip(JOURNAL, reason, stored.where)
        else:
            reason = "revisions: they name values published earlier, which nothing keeps"
            self._report.skip(JOURNAL, reason, stored.where, max(1, len(record.revisions)))

    def _minute(self, record: JournalRecord, version: Fence, where: str) -> None:
        last = self._minutes.get(record.market)
        if last is None or version.rank >= last.rank:
            self._minutes[record.market] = version
        for value in record.values:
            known = self._last.get(value.key)
            if known is None or version.rank >= known.version.rank:
                self._last[value.key] = _Journaled(version, value, where)

    def _closing(self, record: JournalRecord, version: Fence, where: str) -> None:
        start_ms = parse_instant(record.start or "")
        if start_ms is None or record.market not in self._methodology.markets:
            self._report.differs(JOURNAL, record.market, "start", "an instant", record.start, where)
            return
        local_days = self._calendar.local_days(record.market)
        slot = start_ms if record.kind == "hour" else local_days.day_of(start_ms)
        self._closed[record.market, record.kind].add(slot)
        if start_ms < self._blind.before_ms():
            self._report.skip(
                JOURNAL, GONE, f"{record.market} {record.kind} {record.start}", len(record.values)
            )
            return
        self._judge_closing(record, slot, version, where)
        if record.part == record.parts:
            self._closed_by[record.market, record.kind, slot] = version.definitions

    def _judge_closing(self, record: JournalRecord, slot: int, version: Fence, where: str) -> None:
        wanted = self._finals.values(record.market, record.kind, slot, version.definitions)
        if wanted is None:
            closing = f"{record.market} {record.kind} {record.start}"
            self._report.skip(JOURNAL, FORGOTTEN, closing, len(record.values))
            return
        cut = self._finals.made_of_cut(
            self._merged, record.market, record.kind, slot, version.definitions
        )
        if cut is not None and _are_seen_alike(cut, wanted):
            cut = None
        if cut is not None and self._is_of(record, cut):
            wanted = cut
        for value in record.values:
            key = f"{value.key} closing {record.start}"
            pairs = self._pairs(record, value, wanted)
            if pairs is None:
                self._report.skip(JOURNAL, UNKNOWN, key)
                continue
            differing = [pair for pair in pairs if pair[1] != pair[2]]
            if (
                differing
                and value.dimension != MARKET
                and self._is_forgotten(record, slot, version)
            ):
                self._report.skip(JOURNAL, _CUT_LABELS, key)
                continue
            self._report.judge(JOURNAL)
            # A slot that changed after it was final is closed again: its last closing counts.
            self._judge_again(key, differing, where)
        if record.cause is None:
            self._judge_whole(record, slot, version, wanted, where)
        elif cut is None:
            self._judge_touched(record, slot, version, wanted, where)

    def _judge_whole(
        self,
        record: JournalRecord,
        slot: int,
        version: Fence,
        wanted: dict[Name, Expected],
        where: str,
    ) -> None:
        """A closing of a whole slot must have named all that counted something."""
        self._wrong.pop(f"{record.market} {record.kind} closing {record.start} touched", None)
        kept_ms = QUARTERS_KEPT_MS + self._methodology.grace_ms
        named = any(value.index in SHOPPER_INDICES for value in record.values)
        late = record.kind == "hour" and version.as_of_ms - slot > kept_ms
        if late and record.part == record.parts and not named:
            # Level 2 had dropped its quarters, so its shoppers are not known. The rest is judged.
            reason = "shoppers of an hour that was closed again after its quarters were dropped"
            self._report.skip(JOURNAL, reason, f"{record.market} {record.start}")
            wanted = {name: each for name, each in wanted.items() if name[0] not in SHOPPER_INDICES}
        self._judge_members(record, slot, wanted, where)

    def _judge_touched(
        self,
        record: JournalRecord,
        slot: int,
        version: Fence,
        wanted: dict[Name, Expected],
        where: str,
    ) -> None:
        """After its last part, a closing by other definitions must have named all that they change."""
        key = (record.market, record.kind, slot)
        named = self._named.pop(key, set()) if record.part > 1 else set()
        named |= {(value.index, value.dimension, value.member) for value in record.values}
        gone: set[Name] = {_name_of(text) for text in record.gone}
        named |= gone
        if record.part < record.parts:
            self._named[key] = named
            return
        before = self._closed_by.get(key, version.definitions)
        was = self._finals.values(record.market, record.kind, slot, before) or wanted
        left_out: list[_Pair] = [
            (" ".join(name), each and each.value, None)
            for name in sorted(was.keys() | wanted.keys())
            for each in [wanted.get(name)]
            if name not in named and _seen(each) != _seen(was.get(name))
        ]
        left_out += [
            (" ".join(name), each.value, "gone")
            for name in sorted(gone)
            if (each := wanted.get(name)) is not None and each.observed
        ]
        if left_out:
            closing = f"{record.market} {record.kind} closing {record.start} touched"
            self._wrong[closing] = (left_out, where)

    def _is_forgotten(self, record: JournalRecord, slot: int, version: Fence) -> bool:
        """Whether later definitions closed the slot from labels that were cut, and are gone by now."""
        own = HOUR if record.kind == "hour" else DAY_KIND
        end_ms = parse_instant(record.end or "") or version.as_of_ms
        old = version.as_of_ms - end_ms > LABELS_WHOLE_MS[own]
        return (
            bool(version.definitions) and old and not self._merged.holds(own, record.market, slot)
        )

    def _is_of(self, record: JournalRecord, wanted: dict[Name, Expected]) -> bool:
        pairs = (self._pairs(record, value, wanted) or [] for value in record.values)
        return all(expected == found for of in pairs for _, expected, found in of)

    def _pairs(
        self, record: JournalRecord, value: Value, wanted: dict[Name, Expected]
    ) -> list[_Pair] | None:
        """Return (field, expected, found) of a value in a closing; None if its base is not known."""
        if value.index != LEVEL:
            expected = wanted.get((value.index, value.dimension, value.member))
            return _closing_pairs(expected, value, record.kind)
        net = wanted.get(("sales_net", value.dimension, value.member))
        against = self._expected.bases.closing_pairs(record.market, value)
        if net is None or against is None:
            return None if net is not None else _closing_pairs(None, value, record.kind)
        return [("observed", net.observed, value.observed), ("n", net.n, value.n), *against]

    def _judge_members(
        self, record: JournalRecord, slot: int, wanted: dict[Name, Expected], where: str
    ) -> None:
        """After its last part, a closing must have named every member that counted something."""
        key = (record.market, record.kind, slot)
        named = self._named.pop(key, set()) if record.part > 1 else set()
        named |= {(value.index, value.dimension, value.member) for value in record.values}
        if record.part < record.parts:
            self._named[key] = named
            return
        left_out: list[_Pair] = [
            (f"{name} {member}", each.value, None)
            for (name, dimension, member), each in wanted.items()
            if each.observed and (name, dimension, member) not in named
        ]
        closing = f"{record.market} {record.kind} closing {record.start}"
        self._judge_again(closing, left_out, where)

    def _judge_again(self, key: str, differing: list[_Pair], where: str) -> None:
        if differing:
            self._wrong[key] = (differing, where)
        else:
            self._wrong.pop(key, None)

    def finish(self, cut_markets: frozenset[str]) -> None:
        """Compare the last journaled values at the end of the log, and find missing closings.

        ``cut_markets``: markets whose journal has lost its beginning.
        """
        for key, (pairs, where) in self._wrong.items():
            for name, expected, found in pairs:
                self._report.differs(JOURNAL, key, name, expected, found, where)
        for code, market in self._published.items():
            self._judge_last(code, market, cut=code in cut_markets)
            if market.fence is not None and code in self._methodology.markets:
                self._judge_closings(code, market, cut=code in cut_markets)

    def _judge_last(self, code: str, market: MarketValues, *, cut: bool) -> None:
        until = self._minutes.get(code)
        for key, held in market.values.items():
            value = held.value
            if value is None or value.edition != self._methodology.edition:
                continue
            journaled = self._last.get(key)
            if until is None or until.rank < held.version.rank:
                self._report.skip(JOURNAL, "changed since the last journal record", key)
                continue
            if journaled is None and cut:
                self._report.skip(JOURNAL, _CUT, key)
                continue
            self._report.judge(JOURNAL)
            if journaled is None:
                self._report.differs(JOURNAL, key, "record", held.where, None, "journal")
            elif journaled.value != value:
                for name in Value.__struct_fields__:
                    left, right = getattr(value, name), getattr(journaled.value, name)
                    if left != right:
                        self._report.differs(JOURNAL, key, name, left, right, journaled.where)

    def _judge_closings(self, code: str, market: MarketValues, *, cut: bool) -> None:
        assert market.fence is not None
        local_days = self._calendar.local_days(code)
        wanted = [
            ("hour", start, start, start + HOUR_MS <= market.fence.hours_until)
            for own, start in self._finals.of(code).hours
            if own == code
        ] + [
            ("day", day, local_days.start_ms(day), day < market.fence.days_until)
            for own, day in self._finals.of(code).days
            if own == code
        ]
        for kind, slot, start_ms, due in sorted(wanted):
            name = day_name(slot) if kind == "day" else rfc3339(slot)
            if not due:
                continue
            if start_ms < self._blind.before_ms():
                self._report.skip(JOURNAL, GONE, f"{code} {name}")
                continue
            if cut and slot < min(self._closed[code, kind], default=slot + 1):
                self._report.skip(JOURNAL, _CUT, f"{code} {name}")
                continue
            self._report.judge(JOURNAL)
            if slot not in self._closed[code, kind]:
                self._report.differs(
                    JOURNAL, f"{code} {kind} {name}", "closing", "one", None, "journal"
                )
