"""Reads from Kafka what an explanation is made from: values, journal, the operator's factors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.console.errors import OperationError, unknown_market
from streams.console.progress import ProgressFunction, no_progress
from streams.flow.own_records import UNREADABLE
from streams.flow.wire import PartialKey, decode_partial, parsed_key, partition_of
from streams.index.definitions import METHODOLOGY_VERSION, market_with
from streams.index.hours import LocalHours
from streams.index.instants import parse_instant
from streams.index.learning import Factor
from streams.index.methodology import Market, Methodology
from streams.index.panes import DAY_MS, day_name, rfc3339
from streams.index.values import DAY_WINDOW, WINDOWS_MS, Fence
from streams.proof.explain.bases import fence_base, journaled_base
from streams.proof.explain.choosing import NotFoundError, choose
from streams.proof.explain.explanation import explain_value
from streams.proof.explain.explanation_types import (
    Asked,
    Based,
    Closed,
    CountedRows,
    Explanation,
    Journal,
    Known,
    PublishedValue,
    Revised,
    Vintaged,
)
from streams.proof.explain.formula_words import FORMULAS
from streams.proof.explain.journal_query import JournalQuery, query_of
from streams.proof.explain.made_of import RowsRead, why_not_rows
from streams.records.answer_record import refused_answer
from streams.records.definitions_log import read_definitions
from streams.records.factors import FactorHistory
from streams.records.history_record import refused_history
from streams.records.journal_record import Journaled, JournalRecord, read_journaled
from streams.records.kafka_logs import Extent, Logs, Stored, open_logs
from streams.records.kafka_topics import existing_partitions
from streams.records.kafka_words import in_words
from streams.records.unreadable import UnreadableRecord, UnreadableRecords, key_text, unreadable
from streams.records.values_log import ValuesLog
from streams.settings import Settings, load_methodology
from streams.worker import names

_BACK_MS = 17 * DAY_MS
"""How much older records can be that explain a value: change_week compares with the week before."""


async def explain(
    settings: Settings, asked: Asked, progress: ProgressFunction = no_progress
) -> Explanation:
    """Explain one value. Raises OperationError if it is not found, SettingsError."""
    methodology = load_methodology(settings)
    market = methodology.markets.get(asked.market)
    _check(asked, market, list(methodology.markets))
    assert market is not None
    topics = settings.topics
    counts = await existing_partitions(settings.kafka)
    missing = [t for t in (topics.values, topics.journal, topics.history) if not counts.get(t)]
    if missing:
        raise OperationError(
            f"topics that do not exist: {', '.join(missing)}; either there is "
            "nothing to explain yet, or topics.prefix is wrong"
        )
    async with open_logs(settings.kafka) as logs:
        reader = _Reader(logs, counts, settings, market, frozenset(methodology.markets))
        progress("reading what was published", 0, 0)
        values, held = await reader.find(asked)
        market = await reader.market_of(held)
        progress("reading the journal", 0, 0)
        wanted = query_of(held.value, market, LocalHours(market.time_zone))
        as_of_ms = parse_instant(held.value.as_of)
        assert as_of_ms is not None
        journal = await reader.journal(wanted, held, as_of_ms - _BACK_MS)
        journal.bases = {**reader.bases, **journal.bases}
        factors = await reader.factors(held.written_ms)
        progress("reading what was counted", 0, 0)
        rows = await reader.counted_rows(held, methodology)
    known = Known(values, journal, factors, rows)
    explanation = explain_value(held, known, market, edition=methodology.edition)
    return msgspec.structs.replace(explanation, unreadable=reader.unreadable.summary())


def _check(asked: Asked, market: Market | None, markets: Sequence[str]) -> None:
    if market is None:
        raise unknown_market(asked.market, markets)
    if asked.index not in FORMULAS:
        raise OperationError(f"index {asked.index!r}: expected one of {', '.join(FORMULAS)}")
    windows = (*WINDOWS_MS, DAY_WINDOW)
    if asked.window not in windows:
        raise OperationError(f"window {asked.window!r}: expected one of {', '.join(windows)}")
    if (asked.window == DAY_WINDOW) != (asked.day is not None):
        raise OperationError("window `day` and --day YYYY-MM-DD go together")


class _Reader:
    def __init__(
        self,
        logs: Logs,
        counts: dict[str, int],
        settings: Settings,
        market: Market,
        markets: frozenset[str],
    ) -> None:
        self.unreadable = UnreadableRecords()
        """Records that could not be read, without those that name another market."""
        self._others = markets - {market.code}
        self._logs = logs
        self._counts = counts
        self._topics = settings.topics
        self._market = market
        self.bases: dict[str, Based] = {}
        """Base of the newest publication, by name; empty until that was read."""

    def _partition(self, topic: str) -> TopicPartition:
        needed = self._topics.partials_partitions
        if short := names.shortfalls({topic: needed}, self._counts):
            raise OperationError(short)
        return TopicPartition(topic, partition_of(self._market.code, needed))

    # -- values ----------------------------------------------------------------------------------

    async def find(self, asked: Asked) -> tuple[dict[str, PublishedValue], PublishedValue]:
        """Return a market's values at one publication, and the one asked for. Raises OperationError."""
        try:
            if asked.at_ms is None:
                values = await self._newest()
                return values, choose(values, asked)
            return await self._find_at(asked, asked.at_ms)
        except NotFoundError as error:
            raise OperationError(
                "\n".join((str(error), *self.unreadable.summary().lines()))
            ) from error

    async def _newest(self) -> dict[str, PublishedValue]:
        log = ValuesLog()
        tp = self._partition(self._topics.values)
        async for batch in self._logs.read(tp, (await self._logs.extents_of([tp]))[tp]):
            for stored in batch:
                log.apply_record(stored)
        self._refuse(log.unreadable)
        market = log.markets.get(self._market.code)
        fence = None if market is None else market.fence
        self.bases = fence_base(None if fence is None else fence.level)
        return {
            key: PublishedValue(held.value, held.version, held.where, held.written_ms)
            for key, held in (market.values if market is not None else {}).items()
            if held.value is not None
        }

    async def _find_at(
        self, asked: Asked, at_ms: int
    ) -> tuple[dict[str, PublishedValue], PublishedValue]:
        """Find in the journal the values that had been published by ``at_ms``.

        A value that did not change is not journaled again, so older records may have to be read.
        """
        tp = self._partition(self._topics.journal)
        whole = (await self._logs.extents_of([tp]))[tp]
        recent = await self._logs.since(tp, at_ms - _BACK_MS)
        for extent in (recent, whole):
            values = await self._values_at(tp, extent, asked, at_ms)
            complete = extent.begin <= whole.begin
            try:
                held = choose(values, asked)
            except NotFoundError:
                if complete:
                    raise
                continue
            return values, held
        raise AssertionError  # the last extent was the whole journal

    async def _values_at(
        self, tp: TopicPartition, extent: Extent, asked: Asked, at_ms: int
    ) -> dict[str, PublishedValue]:
        found: dict[str, PublishedValue] = {}
        async for read in self._records(tp, extent):
            version = read.version
            if read.record.kind != "minute" or version.as_of_ms > at_ms:
                continue
            for value in read.record.values:
                if (value.window, value.day) != (asked.window, asked.day):
                    continue
                known = found.get(value.key)
                if known is None or version.rank >= known.version.rank:
                    found[value.key] = PublishedValue(value, version, read.where, read.written_ms)
        return found

    async def market_of(self, held: PublishedValue) -> Market:
        """Return the market by the definitions that a value was published by. Raises OperationError."""
        version, topic = held.version.definitions, self._topics.definitions
        if version == METHODOLOGY_VERSION:
            return self._market
        log = await read_definitions(self._logs, topic, [self._market.code], self._market.code)
        document = log.document(self._market, version)
        if document is None:
            raise OperationError(
                f"{held.where} was published by version {version} of the definitions of "
                f"{self._market.code}, which {topic} does not hold any more"
            )
        self._market = market_with(self._market, document, version)
        return self._market

    # -- journal ---------------------------------------------------------------------------------

    async def journal(self, wanted: JournalQuery, held: PublishedValue, since_ms: int) -> Journal:
        """Read from the journal what is needed to explain the value."""
        tp = self._partition(self._topics.journal)
        extent = await self._logs.since(tp, since_ms)
        log = JournalSearch(wanted, held.value.edition)
        async for read in self._records(tp, extent):
            log.apply_record(read.where, read.record, read.version)
        log.found.cut = extent.begin > 0
        return log.found

    async def _records(self, tp: TopicPartition, extent: Extent) -> AsyncIterator[Journaled]:
        async for batch in self._logs.read(tp, extent):
            for stored in batch:
                if key_text(stored.key) in self._others:
                    continue
                read = read_journaled(stored)
                if isinstance(read, UnreadableRecord):
                    self._refuse(UnreadableRecords([read]))
                else:
                    yield read

    def _refuse(self, found: UnreadableRecords) -> None:
        """Keep unreadable records that may concern the market, each once if it is read twice."""
        known = {each.where for each in self.unreadable.records}
        self.unreadable.add_all(
            found.chosen(lambda each: each.market not in self._others and each.where not in known)
        )

    # -- factors ---------------------------------------------------------------------------------

    async def factors(self, until_ms: int) -> list[Factor]:
        """Return the factors of methodology.toml, then those of operators by then, answers last."""
        factors = FactorHistory(self._market)
        topic = self._topics.history
        for tp, extent in (await self._logs.extents([(topic, self._counts[topic])])).items():
            async for batch in self._logs.read(tp, extent):
                for stored in batch:
                    refused = refused_history(stored)
                    if refused is not None:
                        self._refuse(UnreadableRecords([refused]))
                    factors.add_record(stored.key, stored.value, stored.timestamp_ms)
        topic = self._topics.answers
        answered = [(topic, self._counts[topic])] if self._counts.get(topic) else []
        for tp, extent in (await self._logs.extents(answered)).items():
            async for batch in self._logs.read(tp, extent):
                for stored in batch:
                    refused = refused_answer(stored)
                    if refused is not None:
                        self._refuse(UnreadableRecords([refused]))
                    factors.add_answer(stored.key, stored.value, stored.timestamp_ms)
        return factors.declared_until(until_ms)

    # -- rows ------------------------------------------------------------------------------------

    async def counted_rows(self, held: PublishedValue, methodology: Methodology) -> CountedRows:
        """Read the rows that the value counts, or return why they cannot be had."""
        group = names.app_id(methodology.edition, self._topics.prefix)
        table = names.changelog_topic(group, names.MERGED_TABLE)
        missing = [each for each in (self._topics.partials, table) if not self._counts.get(each)]
        why = why_not_rows(held, methodology.edition)
        why = why or (
            f"{', '.join(missing)}: no such topic, or no right to see it" if missing else ""
        )
        if why:
            return CountedRows([], None, why)
        rows = RowsRead(held, self._market, methodology, LocalHours(self._market.time_zone))
        of_rows, of_table = self._partition(self._topics.partials), self._partition(table)
        try:
            await self._read_rows(of_rows, of_table, rows)
        except KafkaError as error:  # a reader need not have a right to topics of the service's own
            return CountedRows([], None, in_words(error))
        return rows.made_of(*(f"{tp.topic}-{tp.partition}" for tp in (of_rows, of_table)))

    async def _read_rows(
        self, of_rows: TopicPartition, of_table: TopicPartition, rows: RowsRead
    ) -> None:
        extent = await self._logs.since(of_rows, rows.since_ms)
        rows.log_end = extent.end - 1
        async for batch in self._logs.read(of_rows, extent):
            for stored in batch:
                key = parsed_key(stored.key or b"")
                if stored.value is not None and isinstance(key, PartialKey):
                    with self._refusing(stored, "a row of partials"):
                        record = decode_partial(stored.value)
                        rows.take_row(key, record, stored.offset, stored.timestamp_ms)
        whole = (await self._logs.extents_of([of_table]))[of_table]
        async for batch in self._logs.read(of_table, whole):
            for stored in batch:
                with self._refusing(stored, "a record of the merged table"):
                    rows.take_table(stored.key or b"", stored.value, stored.offset)

    @contextmanager
    def _refusing(self, stored: Stored, expected: str) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            self._refuse(UnreadableRecords([unreadable(stored, expected, str(error))]))


class JournalSearch:
    """Reads the journal of one market in order, and keeps what is needed to explain one value."""

    def __init__(self, wanted: JournalQuery, edition: int) -> None:
        self.found = Journal()
        self._wanted = wanted
        self._edition = edition
        self._day_names = {day_name(day) for day in wanted.days}
        self._hours = {rfc3339(hour_ms): hour_ms for hour_ms in wanted.hours}
        self._revised: dict[tuple[str, int], int] = {}

    def apply_record(self, where: str, record: JournalRecord, version: Fence) -> None:
        """Apply the next record."""
        if record.edition != self._edition:
            return
        if record.kind == "vintage":
            self._vintage(where, record, version)
        elif record.kind in ("hour", "day"):
            self._closing(where, record, version)
        elif record.kind == "revision":
            self._revisions(where, record)
        elif record.kind == "base" and record.base == self._wanted.base:
            self.found.bases |= journaled_base(where, record)

    def _vintage(self, where: str, record: JournalRecord, version: Fence) -> None:
        name = record.vintage or ""
        if name[: len("2026-11-24")] not in self._day_names:
            return
        known = self.found.vintages.get(name)
        if known is None:
            known = self.found.vintages[name] = Vintaged(name, version, where, {})
        for series in record.series:
            key = (series.dimension, series.member, series.measure)
            if key in self._wanted.series:
                known.series[key] = series

    def _closing(self, where: str, record: JournalRecord, version: Fence) -> None:
        start_ms = self._hours.get(record.start or "") if record.kind == "hour" else None
        if record.kind == "day" and parse_instant(record.start or "") == self._wanted.day_start_ms:
            start_ms = self._wanted.day_start_ms
        if start_ms is None:
            return
        slot = (record.kind, start_ms)
        known = self.found.closings.get(slot)
        if known is not None and version.rank < known.version.rank:
            return
        if known is None or record.part == 1:
            known = self.found.closings[slot] = Closed(version, where)
        for value in record.values:
            if (value.index, value.dimension, value.member) == self._wanted.closing:
                known.value, known.where = value, where

    def _revisions(self, where: str, record: JournalRecord) -> None:
        for revision in record.revisions:
            value = revision.value
            if value.key != self._wanted.key:
                continue
            revised = (value.as_of, value.revision)
            at = self._revised.setdefault(revised, len(self.found.revisions))
            if at == len(self.found.revisions):  # a repeat after a crash is equal
                self.found.revisions.append(Revised(revision, where))
