"""Batches of records of one partition -> events, records by order, and refusals. No IO.

A source's records are translated in one step where an order's records all come to one partition. Else
in two: the first reads them and hands what they say on by order id, the second states it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec
from xxhash import xxh3_64_intdigest

from streams.index.formats import msgpack_reader
from streams.sources.outgoing import Outgoing
from streams.translate.compiled_source import CompiledSource, IgnoredRecord
from streams.translate.dead_records import refused_value
from streams.translate.order_book import OrderBook, order_key
from streams.translate.refused_records import RefusedRecord, RefusedRecordError
from streams.translate.whole_orders import (
    LooseCapture,
    LoosePayment,
    LooseRefund,
    Reported,
    WholeOrder,
)

EMPTY = "empty"
"""Why a record without a value is ignored."""


class KafkaRecord(Protocol):
    """A record as it was read."""

    @property
    def offset(self) -> int:
        """Where it is in its partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Of the record, in epoch ms."""
        ...

    @property
    def value(self) -> bytes | None:
        """None where its key was deleted."""
        ...


class Origin(msgspec.Struct, array_like=True, gc=False):
    """Where a source's record is. ``topic_id``: of the topic that it is in; empty: not known."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    timestamp_ms: int


class ReportedRecord(msgspec.Struct, array_like=True, gc=False):
    """What one record says, on its way to whoever keeps its order. One of the four last is there."""

    origin: Origin
    digest: int
    order: WholeOrder | None = None
    refund: LooseRefund | None = None
    capture: LooseCapture | None = None
    payment: LoosePayment | None = None

    @property
    def reported(self) -> Reported:
        """What it says."""
        found = self.order or self.refund or self.capture or self.payment
        assert found is not None, "one is there"
        return found


class DeadRecord(NamedTuple):
    """A record that was refused. ``value``: what is kept of it. ``value_bytes``: how long it was."""

    origin: Origin
    detail: str
    value: bytes
    value_bytes: int


@dataclass(slots=True)
class Translated:
    """What follows from a batch. ``by_order``: keys and values of records for the second step.

    ``last_ms``: time of the newest record of the source; 0: none was read here.
    """

    events: list[Outgoing] = field(default_factory=list)
    by_order: list[tuple[bytes, bytes]] = field(default_factory=list)
    dead: list[DeadRecord] = field(default_factory=list)
    states: dict[bytes, bytes | None] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    read: int = 0
    last_ms: int = 0


class RecordPlace(NamedTuple):
    """The partition of which batches come."""

    topic: str
    topic_id: str
    partition: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgpack_reader(ReportedRecord)


class RecordReader:
    """Reads the records of a source: what each says, or why it says nothing."""

    def __init__(self, source: CompiledSource, place: RecordPlace, hash_key: bytes | None) -> None:
        self._source = source
        self._place = place
        self._hash_key = hash_key

    def read(
        self, records: Sequence[KafkaRecord], found: Translated
    ) -> list[tuple[KafkaRecord, Reported]]:
        """Return what records say; what is left out or refused is noted in ``found``."""
        reports: list[tuple[KafkaRecord, Reported]] = []
        found.read += len(records)
        for record in records:
            found.last_ms = max(found.last_ms, record.timestamp)
            value = record.value
            if not value:
                found.ignored[EMPTY] += 1
                continue
            outcome = self._source.read(value)
            if type(outcome) is list:
                reports += [(record, each) for each in outcome]
            elif isinstance(outcome, IgnoredRecord):
                found.ignored[outcome.reason] += 1
            else:
                assert isinstance(outcome, RefusedRecord)
                self.refuse(record, outcome, found)
        return reports

    def refuse(self, record: KafkaRecord, refused: RefusedRecord, found: Translated) -> None:
        """Note a record that cannot be translated."""
        value = record.value or b""
        kept = refused_value(refused, value, self._source.fields, self._hash_key)
        found.dead.append(DeadRecord(self.origin(record), refused.detail, kept, len(value)))

    def origin(self, record: KafkaRecord) -> Origin:
        """Return where a record is."""
        return Origin(*self._place, record.offset, record.timestamp)


class ByOrder:
    """The first of two steps: reads records, and hands on what each says of its order."""

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader

    def translate(self, records: Sequence[KafkaRecord], now_ms: int) -> Translated:  # noqa: ARG002 - as the others
        """Return the records for the second step."""
        found = Translated()
        for record, reported in self._reader.read(records, found):
            assert record.value is not None
            passed_on = ReportedRecord(self._reader.origin(record), xxh3_64_intdigest(record.value))
            if isinstance(reported, WholeOrder):
                passed_on.order = reported
            elif isinstance(reported, LooseRefund):
                passed_on.refund = reported
            elif isinstance(reported, LooseCapture):
                passed_on.capture = reported
            else:
                passed_on.payment = reported
            found.by_order.append((order_key(reported), _encode(passed_on)))
        return found


class Stating:
    """The second of two steps: states what is new of orders."""

    def __init__(self, source: CompiledSource, book: OrderBook) -> None:
        self._source = source
        self._book = book

    def translate(self, records: Sequence[KafkaRecord], now_ms: int) -> Translated:
        """Return the events, and what must be kept with them."""
        found = Translated()
        take, events = self._book.take_reported, found.events
        for record in records:
            assert record.value is not None, "our own topic has no deleted records"
            record_of_order = _decode(record.value)
            try:
                events += take(
                    record_of_order.reported, record_of_order.digest, min(record.timestamp, now_ms)
                )
            except RefusedRecordError as error:
                refused = RefusedRecord(self._source.name, error.path, error.expected, error.found)
                kept = refused_value(refused, None, self._source.fields, None)
                found.dead.append(DeadRecord(record_of_order.origin, refused.detail, kept, 0))
        found.states = self._book.settle()
        return found


class ReadingAndStating:
    """Both steps at once, for a source whose records are keyed by order."""

    def __init__(self, source: CompiledSource, reader: RecordReader, book: OrderBook) -> None:
        self._source = source
        self._reader = reader
        self._book = book

    def translate(self, records: Sequence[KafkaRecord], now_ms: int) -> Translated:
        """Return the events, and what must be kept with them."""
        found = Translated()
        take, events = self._book.take_reported, found.events
        for record, reported in self._reader.read(records, found):
            assert record.value is not None
            digest = xxh3_64_intdigest(record.value)
            try:
                events += take(reported, digest, min(record.timestamp, now_ms))
            except RefusedRecordError as error:
                refused = RefusedRecord(self._source.name, error.path, error.expected, error.found)
                self._reader.refuse(record, refused, found)
        found.states = self._book.settle()
        return found


Step = ByOrder | Stating | ReadingAndStating
