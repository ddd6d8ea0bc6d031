"""Judges the shifts that level 2 keeps against those published, and tells which hours were not learnt.

Level 2's table holds which hours were not learnt because of a shift, and which levels were adopted. It
must agree with ``ecindex.shifts``; then vintages under a shift can be learnt again with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.flow.answer_book import MarketAnswers
from streams.flow.market_shifts import KEPT_MINUTES, relevels_of, shifted_of
from streams.flow.shift_watch import FINAL
from streams.flow.shifts_record import KeptShift, ShiftsRecord
from streams.index.indices import METHOD
from streams.index.instants import parse_instant
from streams.index.learning import Relevel, Shifted
from streams.index.methodology import Market
from streams.index.panes import MINUTE_MS, of_minute, rfc3339
from streams.index.shift_series import PAYMENT_FAILURE
from streams.proof.audit.report import EXPECTED, Report
from streams.records.kafka_logs import Stored
from streams.records.shift_record import PublishedShift, read_shift
from streams.records.unreadable import UnreadableRecord, UnreadableRecords

_WHERE = "the market's detectors in level 2's table"


class Shifts:
    """Records of ``ecindex.shifts``, and what level 2 keeps of each market's shifts."""

    def __init__(self) -> None:
        self.kept: Mapping[str, ShiftsRecord] = {}
        """State of the detectors by market. A market whose table has none is absent."""
        self.unreadable = UnreadableRecords()
        self._last: dict[bytes, PublishedShift] = {}
        self._final: list[PublishedShift] = []

    def add_shift(self, stored: Stored) -> None:
        """Apply the next record. One that cannot be read counts as a shift of every market."""
        shift = read_shift(stored)
        if isinstance(shift, UnreadableRecord):
            self.unreadable.add(shift)
            shift = PublishedShift("", "page", "")
        self._last[stored.key or b""] = shift
        if shift.phase == FINAL:
            self._final.append(shift)

    def overlap(self, market: str, start_ms: int) -> bool:
        """Whether a shift of the market was active at ``start_ms``, or began or ended later."""
        return any(
            shift.market in ("", market)
            and (shift.event != "end" or _instant(shift.at, start_ms) >= start_ms)
            for shift in self._last.values()
        )

    def lessons(
        self, market: str, start_ms: int, until_ms: int, answers: MarketAnswers
    ) -> tuple[list[Shifted], list[Relevel]] | None:
        """Return (hours not learnt, levels adopted) for a vintage of the hours in between.

        ``answers``: what operators had said when it was learnt. None if the records no longer tell.
        """
        if not self.overlap(market, start_ms):
            return [], []
        record = self.kept.get(market)
        if record is None or any(not shift.market for shift in self._last.values()):
            return None
        done = record.watch.done_until
        if done * MINUTE_MS < until_ms or start_ms < (done - KEPT_MINUTES) * MINUTE_MS:
            return None
        return (
            shifted_of(record.kept, until_ms, answers),
            relevels_of(record.kept, until_ms, answers),
        )

    def judge(self, edition: int, report: Report, markets: Mapping[str, Market] = {}) -> None:
        """Compare the shifts that are kept with those published of final minutes.

        ``markets``: by the definitions in force. What was published under a former id is kept under
        the present one.
        """
        report.unreadable_of(EXPECTED, self.unreadable)
        for market, record in self.kept.items():
            published = [
                _as_called_now(each, markets.get(market))
                for each in self._final
                if (each.market, each.edition) == (market, edition)
            ]
            pages = {(each.series, each.number): each for each in published if each.event == "page"}
            for kept in record.kept:
                report.judge(EXPECTED)
                series = (kept.dimension, kept.member)
                page = pages.get((series, kept.number))
                ends = {
                    each.at for each in published if each.event == "end" and each.series == series
                }
                _judge_kept(f"{market} shift", kept, page, ends, report)
            for page in pages.values():
                if not _is_kept(page, record):
                    key = f"{market} shift {page.dimension} {page.member} {page.number}"
                    report.differs(EXPECTED, key, "kept", page.start, None, _WHERE)


def _as_called_now(shift: PublishedShift, market: Market | None) -> PublishedShift:
    dimension = METHOD if shift.dimension == PAYMENT_FAILURE else shift.dimension
    if market is None or shift.member in market.members().get(dimension, (shift.member,)):
        return shift
    member = market.renamed.get((dimension, shift.member), shift.member)
    return msgspec.structs.replace(shift, member=member)


def _judge_kept(
    what: str, kept: KeptShift, page: PublishedShift | None, ends: set[str], report: Report
) -> None:
    key = f"{what} {kept.dimension} {kept.member} {kept.number}"
    if page is None:
        report.differs(EXPECTED, key, "record", None, rfc3339(of_minute(kept.start)), _WHERE)
        return
    pairs = [
        ("start", page.start, rfc3339(of_minute(kept.start))),
        ("found_at", page.at, rfc3339(of_minute(kept.found_at))),
        ("clock", page.clock, kept.clock),
    ]
    end = rfc3339(of_minute(kept.end))
    if kept.end and not kept.relevelled_at and end not in ends:
        pairs.append(("end", max(ends, default="none published"), end))
    for name, expected, found in pairs:
        if expected != found:
            report.differs(EXPECTED, key, name, expected, found, _WHERE)


def _is_kept(page: PublishedShift, record: ShiftsRecord) -> bool:
    """Whether a page is kept, or came during an earlier shift of its series."""
    at = _instant(page.at, 0) / MINUTE_MS
    done = record.watch.done_until
    if page.dimension == PAYMENT_FAILURE or not done - KEPT_MINUTES < at <= done:
        return True
    return any(
        (kept.dimension, kept.member) == page.series
        and kept.found_at <= at
        and (not kept.end or kept.end >= at)
        for kept in record.kept
    )


def _instant(text: str, otherwise_ms: int) -> int:
    found = parse_instant(text)
    return otherwise_ms if found is None else found
