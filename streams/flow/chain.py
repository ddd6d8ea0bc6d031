"""The checkpoint chain: one atomic record a flush, recovered as the complete chain that knows most.

Each flush of a source partition is ONE record (exactness rule 3): the rows of the slots touched and
the ids added since the record before. So ids can never be durable without their rows, nor rows
without their ids. A chain of records, linked by ``previous``, is the whole state. Keys carry the
writer's nonce: a zombie's late record then cannot replace one of the new owner (sequence V3), it
only adds a branch.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from streams.flow.chunk import SourcePartition
from streams.flow.own_records import reading
from streams.flow.remembered import Remembered
from streams.flow.source_state import SourceState
from streams.flow.state import CHECKPOINT, LIVE, ORDERS, Day, Pane, SlotKey
from streams.index.formats import (
    RAISE_EDITION,
    OlderFormatError,
    numbered_decoder,
    numbered_encoder,
)
from streams.index.indices import SOURCES
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK, LabelRow, PackedRow, unpacked
from streams.index.shoppers import NOBODY

CHAIN_LENGTH = 128
"""Records a chain may hold before its oldest are retired. At one flush a second this is longer than
the grace: the ids of a retired record belong to closed panes, so nothing is written twice."""
LENGTH_MAX_FACTOR = 4
"""At this many times the length, the oldest record is retired however much of it still lives."""
RETIRED_PER_FLUSH = 2
RECORD_BYTES_MAX = 900 * 1024
NEW_EDITION = f"checkpoints cannot be continued over another log: {RAISE_EDITION}"
"""What fixes a topic that was recreated or repartitioned, or whose log ends before the state."""
_ROW_BYTES_GUESS = 400
_SLOT_BYTES = 40
"""Bytes that a row takes in a record beside its sparse form: market, book, slot."""
_SKETCH_BYTES = 20
"""Bytes that a sketch takes in a record beside its content: market, slot, length."""


class RecoveryError(RuntimeError):
    """The checkpoint table holds no state to continue from; the message says who must act."""


class CheckpointRecord(msgspec.Struct, omit_defaults=True):
    """One flush. ``rows``: [market, book, slot, row]; ``ids``: [market, pane, packed].

    ``sketches``: [market, pane, shoppers] of the panes in ``rows`` that have any. ``notes``: [market,
    UTC day of arrival, packed], see remembered.py. ``begins``: arrival of the first record of each
    market.
    """

    edition: int
    content_hash: str
    topic_id: str
    partitions: int
    seq: int
    previous: str | None
    n: int
    through: int
    watermarks: dict[str, int]
    rows: list[tuple[str, str, int, PackedRow]]
    ids: list[tuple[str, int, bytes]]
    sketches: list[tuple[str, int, bytes]] = []
    notes: list[tuple[str, int, bytes]] = []
    begins: dict[str, int] = {}
    floors: dict[str, int] = {}
    """By market, where panes were closed to make room: the instant (ms) below which none opens again."""
    doubts: dict[str, list[tuple[int, int]]] = {}
    """By market: (hash of the order, arrival in ms) of its doubted records, see admission.py."""
    places: int = 0
    """Partitions of the partials among which markets were placed; 0: the writer did not say."""
    source: str = ""
    """What the topic was read as, ``orders`` or ``payments``; empty: the writer did not say."""
    part: bool = False
    """Whether it is of a flush that ends with a later record: no chain ends here."""
    v: int = 0


encode_checkpoint = numbered_encoder()
decode_checkpoint = numbered_decoder(CheckpointRecord, "a checkpoint")

_encode_row = msgspec.msgpack.Encoder().encode
Ranges = list[tuple[int, int]]


@dataclass(slots=True)
class ChainEntry:
    """One record of the own chain: which slots it holds, and which ranges of their ids."""

    key: str
    seq: int
    size: int
    slots: dict[SlotKey, Ranges] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flush:
    """A record to write; its deletions wait until it and all partials before it are acknowledged.

    ``parts``: (key, value) of the records to write before it, in this order: what one cannot hold.
    """

    key: bytes
    value: bytes
    through: int
    delete_keys: list[bytes]
    parts: list[tuple[bytes, bytes]] = field(default_factory=list)


class RecoveredRow(NamedTuple):
    """A slot's row found in the chain; rows of closed slots are sent again too (sequence V2)."""

    key: SlotKey
    row: LabelRow
    sketch: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """What binds a checkpoint to one incarnation of a topic and one methodology.

    ``partitions``: how many the topic had. A topic may get more: no key's records move. ``places``: the
    partitions of the partials among which markets are placed (`topics.partials_partitions`), for ever.
    """

    edition: int
    content_hash: str
    topic_id: str
    partitions: int
    places: int = 0


class Chain:
    """The chain of one source partition as its owner extends it."""

    def __init__(
        self, source: SourceState, identity: Identity, nonce: str, *, length: int = CHAIN_LENGTH
    ) -> None:
        self.source = source
        self.identity = identity
        """Of the log that the state is of. ``recover`` sets it to what the checkpoints say."""
        self.nonce = nonce
        self.incomplete = False
        """Whether checkpoints were found and no state: the changelog lost records."""
        self._length = length
        self._length_max = length * LENGTH_MAX_FACTOR
        """It grows with what the newest rows need: a chain of them alone cannot be shorter."""
        self._entries: deque[ChainEntry] = deque()
        self._latest: dict[SlotKey, tuple[int, int]] = {}
        """(seq, bytes) of the last record of the chain that holds the slot's row."""
        self._foreign: dict[str, int] = {}
        self._seq = 0
        self._flushed_through = -1
        self._row_bytes = _ROW_BYTES_GUESS

    # -- writing ---------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        """Approximate size of the next record, bytes."""
        return self.source.pending_slots * self._row_bytes + 8 * self.source.pending_ids

    @property
    def due(self) -> bool:
        """Whether there is anything to flush."""
        return self.source.through != self._flushed_through or self.overlong

    @property
    def overlong(self) -> bool:
        """Whether records must be retired even if no event comes."""
        return len(self._entries) > self._length_max

    @property
    def entries(self) -> int:
        """Records in the chain."""
        return len(self._entries)

    def flush(self, unacknowledged: AbstractSet[SlotKey] = frozenset()) -> Flush:
        """Build the next record: what was touched, and what still lives of the oldest records.

        ``unacknowledged``: slots whose row is still on its way to level 2. A record that alone
        holds one of them, closed, is not retired yet: the row could still be lost (sequence V2).
        """
        rows: dict[SlotKey, PackedRow] = {}
        slots: dict[SlotKey, Ranges] = {}
        touched = self.source.take_touched(CHECKPOINT)
        size = 0
        sizes: dict[SlotKey, int] = {}
        sketches: dict[SlotKey, bytes] = {}
        for key, slot in touched.items():
            rows[key] = slot.row.packed()
            slots[key] = []
            sketches[key] = slot.shoppers()
            # Measured, not guessed: a record that the broker refuses ends the worker, then the new
            # owner.
            sizes[key] = _size(rows[key], sketches[key])
            size += sizes[key]
        added: dict[SlotKey, Pane | Day | Remembered] = {**touched, **self.source.take_noted()}
        for key, held in added.items():
            if not isinstance(held, Day) and held.saved < len(held.order):
                slots.setdefault(key, []).append((held.saved, len(held.order)))
                size += 8 * (len(held.order) - held.saved)
                held.saved = len(held.order)
        if touched:
            self._row_bytes = max(64, sum(sizes.values()) // len(touched))
        retired = self._retire(rows, sketches, slots, sizes, size, unacknowledged)
        groups = _groups({**dict.fromkeys(rows), **slots}, sizes, slots)
        parts = [
            self._record(group, rows, sketches, slots, sizes, part=at < len(groups) - 1)
            for at, group in enumerate(groups)
        ]
        self._flushed_through = self.source.through
        self._note_length()
        *parts, (own_key, value) = parts
        return Flush(own_key, value, self.source.through, self._deletes(retired), parts)

    def _note_length(self) -> None:
        needed = sum(size for _, size in self._latest.values()) // RECORD_BYTES_MAX
        self._length_max = self._length * LENGTH_MAX_FACTOR + 2 * needed

    def _record(
        self,
        keys: list[SlotKey],
        rows: dict[SlotKey, PackedRow],
        sketches: dict[SlotKey, bytes],
        slots: dict[SlotKey, Ranges],
        sizes: dict[SlotKey, int],
        *,
        part: bool,
    ) -> tuple[bytes, bytes]:
        """Append a record of these slots to the chain; return its key and value."""
        self._seq += 1
        key_text = self._key(self._seq)
        identity = self.identity
        own = {key: slots[key] for key in keys if key in slots}
        record = CheckpointRecord(
            edition=identity.edition,
            content_hash=identity.content_hash,
            topic_id=identity.topic_id,
            partitions=identity.partitions,
            seq=self._seq,
            previous=self._entries[-1].key if self._entries else None,
            n=len(self._entries) + 1,
            through=self.source.through,
            watermarks=self.source.watermarks(),
            rows=[(*key, rows[key]) for key in keys if key in rows],
            ids=self._packed(own, LIVE),
            sketches=[(key.market, key.slot, held) for key in keys if (held := sketches.get(key))],
            notes=self._packed(own, ORDERS),
            begins=self.source.begins(),
            floors=self.source.floors(),
            doubts=self.source.doubts(),
            places=identity.places,
            source=SOURCES[self.source.payments],
            part=part,
        )
        value = encode_checkpoint(record)
        self._entries.append(ChainEntry(key_text, self._seq, len(value), own))
        for key in keys:
            if key in rows:
                self._latest[key] = (self._seq, sizes[key])
        return key_text.encode(), value

    def _packed(self, slots: dict[SlotKey, Ranges], book: str) -> list[tuple[str, int, bytes]]:
        found = []
        for key, ranges in slots.items():
            slot = self.source.slot(key)
            if ranges and key.book == book and slot is not None and not isinstance(slot, Day):
                packed = b"".join(slot.order[start:stop].tobytes() for start, stop in ranges)
                found.append((key.market, key.slot, packed))
        return found

    def _retire(
        self,
        rows: dict[SlotKey, PackedRow],
        sketches: dict[SlotKey, bytes],
        slots: dict[SlotKey, Ranges],
        sizes: dict[SlotKey, int],
        size: int,
        unacknowledged: AbstractSet[SlotKey],
    ) -> list[ChainEntry]:
        retired: list[ChainEntry] = []
        while len(self._entries) >= self._length and len(retired) < RETIRED_PER_FLUSH:
            oldest = self._entries[0]
            live = {key: ranges for key, ranges in oldest.slots.items() if self.source.is_open(key)}
            if any(
                (key in unacknowledged or self.source.is_unsent(key))
                and self._is_latest(key, oldest)
                for key in oldest.slots
                if key not in live and key not in rows
            ):
                break
            alone = {key for key in live if self._is_latest(key, oldest) and key not in rows}
            carried = sum(self._latest[key][1] for key in alone) + sum(
                8 * (stop - start) for ranges in live.values() for start, stop in ranges
            )
            must = len(self._entries) >= self._length_max
            if (size or retired) and size + carried > RECORD_BYTES_MAX:
                break
            if 2 * carried > oldest.size and not must:
                # A record that is mostly alive would be written again and again at high rates. The
                # chain grows instead, by what the dedupe window holds and no more.
                break
            size += carried
            for key in alone:
                slot = self.source.slot(key)
                assert isinstance(slot, Pane | Day)
                rows[key] = slot.row.packed()
                sketches[key] = slot.shoppers()
                sizes[key] = self._latest[key][1]
            for key, ranges in live.items():
                # Older ids first: a recovered pane then has them roughly in the order of the log.
                if key in rows or ranges:
                    slots[key] = ranges + slots.get(key, [])
            for key in oldest.slots:
                if self._is_latest(key, oldest):
                    del self._latest[key]
            retired.append(self._entries.popleft())
        return retired

    def _is_latest(self, key: SlotKey, entry: ChainEntry) -> bool:
        latest = self._latest.get(key)
        return latest is not None and latest[0] == entry.seq

    def _deletes(self, retired: list[ChainEntry]) -> list[bytes]:
        oldest_seq = self._entries[0].seq
        gone = [entry.key for entry in retired]
        gone += [key for key, seq in self._foreign.items() if seq < oldest_seq]
        for key in gone:
            self._foreign.pop(key, None)
        return [key.encode() for key in gone]

    def _key(self, seq: int) -> str:
        return f"{self.source.sp.topic}|{self.source.sp.partition}|{self.nonce}|{seq}"

    # -- recovery --------------------------------------------------------------------------------

    def recover(self, records: dict[bytes, bytes]) -> list[RecoveredRow]:
        """Take over the complete chain with the largest ``through``.

        Returns every row of that chain, those of closed slots too: they are sent again before the
        first mark. ``identity`` names the topic that they are of, which the caller compares with the
        topic there is. Without a complete chain there is no state, as in the beginning; ``incomplete``
        then says that there was one. Raises RecoveryError when the records belong to another
        methodology, OwnRecordError when one of them cannot be read.
        """
        decoded = {}
        for key, value in records.items():
            with reading(key):
                try:
                    decoded[key.decode()] = decode_checkpoint(value)
                except OlderFormatError as error:
                    raise RecoveryError(f"checkpoints of {self.source.sp}: {error}") from error
        self._seq = max((record.seq for record in decoded.values()), default=0)
        path = _best_chain(decoded)
        if path:
            self._check_identity(decoded[path[-1]])
        # Parts of a first flush that never ended are no state that was lost.
        self.incomplete = not path and any(not each.part for each in decoded.values())
        self._foreign = {key: rec.seq for key, rec in decoded.items() if key not in set(path)}
        return self._restore([(key, decoded[key], len(records[key.encode()])) for key in path])

    def _check_identity(self, record: CheckpointRecord) -> None:
        sp, own = self.source.sp, self.identity
        if record.content_hash != own.content_hash or record.edition != own.edition:
            raise RecoveryError(
                f"methodology.toml: edition {own.edition} has hash {record.content_hash[:12]} in "
                f"the checkpoints of {sp}, but {own.content_hash[:12]} in this worker's file; "
                "restore the file or raise `edition`"
            )
        if record.places and own.places and record.places != own.places:
            raise RecoveryError(
                f"topics.partials_partitions: {own.places}, but the checkpoints of {sp} were made with "
                f"{record.places}, and markets are where that number put them; set it to {record.places}"
            )
        named = SOURCES[self.source.payments]
        if record.source not in ("", named):
            raise RecoveryError(
                f"topics.{named} is {sp.topic}, and the checkpoints of {sp} were made when topics."
                f"{record.source} was: its records would be read as what they are not; set both back, "
                f"or {RAISE_EDITION}"
            )
        # Brokers before Kafka 2.8 have no topic ids; a checkpoint written with one holds none.
        if record.topic_id and own.topic_id:
            self.identity = replace(own, topic_id=record.topic_id)

    def continue_at(self, next_offset: int, topic_id: str) -> None:
        """Go on at an offset that does not follow the last one, of the topic of this id.

        What lies between is not in the state and never will be. The next flush makes it durable.
        """
        assert next_offset > self.source.through, (next_offset, self.source.through)
        self.source.through = next_offset - 1
        self.identity = replace(self.identity, topic_id=topic_id)

    def _restore(self, path: list[tuple[str, CheckpointRecord, int]]) -> list[RecoveredRow]:
        source = self.source
        newest: dict[SlotKey, tuple[bytes, PackedRow, bytes]] = {}
        """Slot -> key of the record that holds its newest row, that row, its shoppers."""
        if not path:
            return []
        head = path[-1][1]
        source.through = self._flushed_through = head.through
        with reading(path[-1][0].encode()):
            source.restore_progress(head.watermarks, head.floors, head.begins, head.doubts)
        sketches = [_sketches(record) for _, record, _ in path]
        for (key_text, record, _), held in zip(path, sketches, strict=True):
            for market, book, slot, packed in record.rows:
                key = SlotKey(market, book, slot)
                newest[key] = key_text.encode(), packed, held.get(key, NOBODY)
        found = []
        for key, (own_key, packed, sketch) in newest.items():
            with reading(own_key):
                # A day's row is in every record of the chain: only the newest is worth reading.
                row = unpacked(LIVE_BOOK if key.book == LIVE else DAY_BOOK, packed)
                source.restore_slot(key, row, sketch)
            found.append(RecoveredRow(key, row, sketch))
        for (key_text, record, size), held in zip(path, sketches, strict=True):
            entry = ChainEntry(key_text, record.seq, size)
            for market, book, slot, packed in record.rows:
                key = SlotKey(market, book, slot)
                entry.slots[key] = []
                self._latest[key] = (record.seq, _size(packed, held.get(key, NOBODY)))
            with reading(key_text.encode()):
                self._restore_words(entry, record)
            self._entries.append(entry)
        self._note_length()
        return found

    def _restore_words(self, entry: ChainEntry, record: CheckpointRecord) -> None:
        """Restore the ids and notes of a record that are still of use."""
        source = self.source
        for book, packed_of, restore in (
            (LIVE, record.ids, source.restore_ids),
            (ORDERS, record.notes, source.restore_notes),
        ):
            for market, slot, packed in packed_of:
                key = SlotKey(market, book, slot)
                stretch = restore(key, array("Q", packed))
                if stretch is not None:
                    entry.slots.setdefault(key, []).append(stretch)


def _groups(
    keys: Iterable[SlotKey], sizes: dict[SlotKey, int], slots: dict[SlotKey, Ranges]
) -> list[list[SlotKey]]:
    """Divide the slots of a flush among records that the broker takes; most often there is one.

    Twenty panes full of labels that were said for the first time took 2.4 MB.
    """
    groups: list[list[SlotKey]] = [[]]
    size = 0
    for key in keys:
        own = sizes.get(key, 0) + 8 * sum(stop - start for start, stop in slots.get(key, ()))
        if groups[-1] and size + own > RECORD_BYTES_MAX:
            groups.append([])
            size = 0
        groups[-1].append(key)
        size += own
    return groups


def _size(row: PackedRow, sketch: bytes) -> int:
    """Return the bytes that a slot takes in a record."""
    return len(_encode_row(row)) + _SLOT_BYTES + (len(sketch) + _SKETCH_BYTES if sketch else 0)


def _sketches(record: CheckpointRecord) -> dict[SlotKey, bytes]:
    return {SlotKey(market, LIVE, slot): held for market, slot, held in record.sketches}


def newest_of(checkpoints: Iterable[CheckpointRecord]) -> CheckpointRecord | None:
    """Return the one of these checkpoints that reaches furthest; None: there is none."""
    ends = (each for each in checkpoints if not each.part)
    return max(ends, key=lambda each: (each.through, each.seq), default=None)


def _best_chain(records: dict[str, CheckpointRecord]) -> list[str]:
    """Return the keys, oldest first, of the complete chain that reaches furthest; empty if none is."""
    best: list[str] = []
    order = sorted(records, key=lambda key: (records[key].through, records[key].seq, key))
    for head in reversed(order):
        if records[head].part:
            continue
        path = [head]
        while len(path) < records[head].n:
            previous = records[path[-1]].previous
            if previous is None or previous not in records:
                break
            path.append(previous)
        if len(path) == records[head].n:
            best = path[::-1]
            break
    return best


def source_of(key: bytes) -> SourcePartition:
    """Return the source partition named in a checkpoint key."""
    topic, partition, _, _ = key.decode().split("|")
    return SourcePartition(topic, int(partition))
