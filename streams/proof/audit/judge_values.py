"""Judges ``ecindex.values`` against what its newest publications must show."""

from __future__ import annotations

from streams.index.instants import parse_instant
from streams.index.member_lists import MemberList
from streams.index.methodology import Market
from streams.index.panes import day_number, rfc3339
from streams.index.values import Value
from streams.proof.audit.cuts import Cut
from streams.proof.audit.expected_values import Expectations, ExpectedValue, compare, is_measured
from streams.proof.audit.report import PROGRESS, VALUES, Report
from streams.proof.recompute.asking import FOREVER_MS
from streams.proof.recompute.slots import GONE
from streams.records.values_log import MarketValues, StoredValue


class ValuesJudge:
    """Compares the values topic with what its newest publications must show."""

    def __init__(self, expectations: Expectations, edition: int, report: Report) -> None:
        self._expectations = expectations
        self._edition = edition
        self._report = report

    def judge(self, code: str, market: MarketValues, cut: Cut) -> None:
        """Judge one market."""
        self._judge_members(code, market, cut)
        left = dict(market.values)
        for wanted in self._expectations.windows(cut):
            self._judge_window(code, left, wanted)
        for wanted in self._expectations.days(cut):
            self._judge_day(code, left, wanted, market, cut)
        for key, held in left.items():
            if held.value is None:
                continue
            if held.value.edition != self._edition:
                reason = f"published under edition {held.value.edition}"
                self._report.skip(VALUES, reason, key)
            elif is_measured(held.value.index):
                continue  # judged with its expectation
            elif held.value.day and self._expectations.blind_day(code, held.value.day):
                self._report.skip(VALUES, GONE, key)
            else:
                self._report.differs(VALUES, key, "record", None, held.value.value, held.where)
        self._judge_leftovers(code, market)

    def _judge_members(self, code: str, market: MarketValues, cut: Cut) -> None:
        """Judge the list of members: by it readers drop what is not there."""
        held = market.members
        if held is None or held.listed.definitions != cut.definitions:
            if cut.definitions:
                self._report.skip(VALUES, "members: no record lists them", code)
            return
        self._report.judge(VALUES)
        expected, found = members_by(self._expectations.market(cut)), listed_by(held.listed)
        for dimension in sorted(expected.keys() | found.keys()):
            own, other = expected.get(dimension), found.get(dimension)
            if own != other:
                key = f"{code}|members|{cut.definitions}"
                self._report.differs(VALUES, key, dimension, own, other, held.where)

    def _judge_window(self, code: str, left: dict[str, StoredValue], wanted: ExpectedValue) -> None:
        key = wanted.key(code)
        held = left.pop(key, None)
        if self._expectations.blind_window(wanted):
            self._report.skip(VALUES, GONE, key)
            return
        if not self._present(key, held, wanted):
            return
        assert held is not None and held.value is not None  # noqa: PT018 - one fact
        compare(self._report, VALUES, key, wanted, held.value, held.where)
        self._compare_version(key, held, "live")
        # A record stays until its number changes: its own as_of may be older, never newer.
        if held.value.as_of > rfc3339(wanted.as_of_ms):
            latest = f"at most {rfc3339(wanted.as_of_ms)}"
            self._report.differs(VALUES, key, "as_of", latest, held.value.as_of, held.where)

    def _judge_day(
        self,
        code: str,
        left: dict[str, StoredValue],
        wanted: ExpectedValue,
        market: MarketValues,
        cut: Cut,
    ) -> None:
        key = wanted.key(code)
        held = left.pop(key, None)
        assert wanted.day is not None
        if self._expectations.blind_day(code, wanted.day):
            self._report.skip(VALUES, GONE, key)
            return
        if not self._present(key, held, wanted):
            return
        assert held is not None and held.value is not None  # noqa: PT018 - one fact
        assert market.fence is not None
        final = day_number(wanted.day) < market.fence.days_until
        until_ms, covered = wanted.as_of_ms, wanted.covered
        if covered is None and not final:
            # The day book covers a day up to as_of of the value's source, in the publication that
            # changed it last: never beyond the newest.
            newest_ms = self._expectations.source_ms(cut, wanted.expected.basis)
            stated_ms = parse_instant(held.value.as_of) or FOREVER_MS
            until_ms = min(stated_ms, newest_ms)
        if covered is None:
            until_ms, covered = self._expectations.day_covered(code, wanted.day, until_ms)
        compare(self._report, VALUES, key, wanted._replace(covered=covered), held.value, held.where)
        if held.value.as_of != rfc3339(until_ms):
            expected = rfc3339(until_ms)
            self._report.differs(VALUES, key, "as_of", expected, held.value.as_of, held.where)
        if wanted.covered is not None:
            end_ms, _ = self._expectations.day_covered(code, wanted.day, FOREVER_MS)
            final = end_ms <= market.fence.hours_until
        self._compare_version(key, held, "final" if final else "live")

    def _present(self, key: str, held: StoredValue | None, wanted: ExpectedValue) -> bool:
        if held is None or held.value is None:
            self._report.judge(VALUES)
            where = "no record" if held is None else held.where
            self._report.differs(VALUES, key, "record", wanted.value, None, where)
            return False
        return True

    def _compare_version(self, key: str, held: StoredValue, phase: str) -> None:
        assert held.value is not None
        for name, expected, found in (
            ("edition", self._edition, held.value.edition),
            ("phase", phase, held.value.phase),
        ):
            if expected != found:
                self._report.differs(VALUES, key, name, expected, found, held.where)

    def _judge_leftovers(self, code: str, market: MarketValues) -> None:
        for key, held in market.older_last.items():
            current = market.values.get(key)
            if current is not None and _content(current.value) != _content(held.value):
                self._report.differs(
                    VALUES, key, "order", f"nothing older behind {current.where}",
                    "an older record, which compaction will keep", held.where,
                )  # fmt: skip
        if market.unfinished:
            (key, _), held = next(iter(market.unfinished.items()))
            self._report.differs(
                PROGRESS, code, "fence record", f"one for {len(market.unfinished)} newer values",
                f"none after {key}", held.where,
            )  # fmt: skip


def listed_by(listed: MemberList) -> dict[str, list[tuple[str, str, str]]]:
    """Return what a published list has, as ``members_by``."""
    return {
        dimension: [(each.id, each.name, each.parent) for each in members]
        for dimension, members in listed.members.items()
    }


def members_by(market: Market) -> dict[str, list[tuple[str, str, str]]]:
    """Return by dimension: (id, name, parent) of each member, in order."""
    return {
        dimension: [
            (
                each,
                market.names.get(dimension, {}).get(each, ""),
                market.parents.get(dimension, {}).get(each, ""),
            )
            for each in members
        ]
        for dimension, members in market.members().items()
    }


def _content(value: Value | None) -> tuple[object, ...]:
    return () if value is None else (value.value, value.observed, value.n, value.status)
