"""Level 2: one partition of ``ecindex.partials`` -> its markets' values.

``PartitionCompile`` applies rows and marks in the order of the log, keeps what must last as table
records, and returns what to publish. Like level 1 it sends nothing itself and reads no clock:
``now`` paces publishing and the journal. It decides no value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from msgspec import structs

from streams.flow.chain import NEW_EDITION, RecoveryError
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.day_buyers import decode_day_buyers, encode_day_buyers
from streams.flow.daybook import decode_shown, encode_shown
from streams.flow.defined_market import defined_market
from streams.flow.definitions_book import DefinitionsTrouble
from streams.flow.fence_record import FenceRecord, decode_fence_record, encode_fence_record
from streams.flow.held_labels import (
    IN_RECORD_BYTES_MAX,
    PART_BYTES,
    LabelsPart,
    decode_labels_part,
    encode_labels_part,
)
from streams.flow.history_book import HistoryBook
from streams.flow.incarnation import base_of, begin_of_next_log
from streams.flow.ledger import Ledger
from streams.flow.market import MarketCompile
from streams.flow.merged import (
    DAY_KIND,
    LENGTH_MS,
    MINUTE,
    Merged,
    MergedRecord,
    SlotId,
    decode_merged,
    encode_merged,
)
from streams.flow.own_records import UNREADABLE, OwnRecordError, place, reading
from streams.flow.publication import Publication
from streams.flow.shifts_record import decode_shifts
from streams.flow.sliced_takeover import SlicedTakeover
from streams.flow.state import LIVE, NEVER_MS
from streams.flow.topic_progress import better_mark
from streams.flow.vintages import decode_vintage, encode_vintage
from streams.flow.wire import (
    EXPIRED,
    FOREIGN,
    MarkKey,
    MarkRecord,
    PartialKey,
    believed,
    decode_encoded_partial,
    decode_mark,
    parsed_key,
    partition_of,
)
from streams.index.formats import RAISE_EDITION, OlderFormatError
from streams.index.methodology import Market, Methodology
from streams.index.summed_labels import decode_row

FENCE_KIND = "f"
VINTAGE_KIND = "e"
SHIFTS_KIND = "w"
SHOWN_KIND = "s"
BUYERS_KIND = "b"
PARTS_KIND = "p"
_WRITERS_MAX = 100_000
"""Writers remembered while a table without records is read; more only weaken a warning."""
_LAST_MARKS_MAX = 100
"""A mark that knows less than the one before is rare (a halt, a zombie, a clock that was set right)."""
WRITTEN_ANEW_MAX = 200
"""Slots of a market that are written in a batch since other definitions read them: about 20 ms."""
LIVE_WITHIN_MS = 15_000
"""A source partition that keeps up is read to its end within this time; marks come each second."""


@dataclass(slots=True)
class TableBatch:
    """Table records to write, and what may be deleted once all of them are acknowledged.

    ``tombstones``: keys in ``ecindex.partials`` whose rows the written records contain.
    ``deletes``: table keys, read or written before, that the written records replace. ``retired``:
    former writers whose fence record the written one replaces. Everything that they published
    before this owner's assignment was computed from what this owner has applied, so its own version
    is no lower.
    """

    writes: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    tombstones: list[bytes] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)


class PartitionCompile:
    """Level-2 state of one partials partition."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        methodology: Methodology,
        sps: Mapping[str, Sequence[SourcePartition]],
        nonce: str,
        history: HistoryBook | None = None,
        *,
        topic_id: str = "",
        follows_definitions: bool = False,
    ) -> None:
        """``history``: what ``ecindex.history`` holds; its reader goes on applying to it.

        ``follows_definitions``: whether markets are compiled by the documents in it (``follow``).
        ``topic_id``: which incarnation of ``ecindex.partials`` this reads; empty: not known.
        """
        self.partition = partition
        self.methodology = methodology
        self.nonce = nonce
        self.topic_id = topic_id
        self.through = -1
        self.replay_through = -1
        """Largest partials offset that a table record contains: nothing is published below it."""
        self.base = 0
        """What to add to the offsets of ``ecindex.partials`` (flow/incarnation.py)."""
        self.anew = False
        """Whether the partials are not those that the table was built from: they were recreated."""
        self.lost: str | None = None
        """Why nothing may be published: the table lost its records. None: it did not."""
        self._sps = {topic: list(of_topic) for topic, of_topic in sps.items()}
        self._topic_ids_found: set[str] = set()
        self._own_writers: set[str] = set()
        self._merged_writers: set[str] = set()
        self.marks: dict[SourcePartition, MarkRecord] = {}
        self._last_marks: dict[SourcePartition, deque[tuple[int, MarkRecord]]] = {}
        """Marks of each source partition that no later one knows as much as, with their offsets. The
        first that a reset leaves is the best of all that it leaves, whenever the reset is heard of."""
        self._history = history
        self._follows_definitions = follows_definitions and history is not None
        self.unapplied: dict[str, DefinitionsTrouble] = {}
        """By market: why it is not compiled by the definitions in force."""
        self._takeovers: dict[str, SlicedTakeover] = {}
        """Markets that go by other definitions once these have read all that there is of them."""
        self._definitions_ids: dict[str, tuple[int, str]] = {}
        """By market: the highest version in a fence record, and the topic that it is of."""
        self.markets: dict[str, MarketCompile] = {}
        for code in methodology.markets:
            if partition_of(code, partitions) == partition:
                self.markets[code] = self._defined(code) or self._compiled(
                    methodology.markets[code]
                )
        self._resets_found = {code: market.declared_reset for code, market in self.markets.items()}
        """Resets that were declared before this began to read."""
        self._foreign_records = 0
        self._table_keys: dict[str, set[str]] = {}
        self._parts: dict[str, set[str]] = {}
        """Of each merged slot that had parts: keys that the records in ``_table_keys`` name."""
        self._written = 0

    # -- definitions -----------------------------------------------------------------------------

    def follow(self) -> bool:
        """Go on to the definitions in force, one slice a market; return whether any goes by them now.

        Call it only when all publications of the last step are acknowledged, and again while
        ``following``. A market whose document cannot be applied goes on as it is (``unapplied``).
        """
        behind, done = self.behind_definitions, False
        for code in behind:
            self._judge_topic(code)
        for code in [code for code in self.markets if code not in behind]:
            takeover = self._takeover(code)
            if takeover is not None and takeover.step(self.through):
                self.markets[code] = takeover.new
                del self._takeovers[code]
                done = True
        return done

    @property
    def following(self) -> bool:
        """Whether a market is about to go by other definitions: ``follow`` has more to do."""
        return bool(self._takeovers)

    def _takeover(self, code: str) -> SlicedTakeover | None:
        """Return the takeover of a market by the definitions in force; None: it has them."""
        known = self._takeovers.get(code)
        if known is not None and known.version == self._version_in_force(code):
            return known
        self._takeovers.pop(code, None)
        old = self.markets[code]
        new = self._defined(code, old)
        if new is not None:
            self._takeovers[code] = SlicedTakeover(old, new)
        return self._takeovers.get(code)

    def _version_in_force(self, code: str) -> int | None:
        if not self._follows_definitions or self._history is None:
            return None
        return self._history.definitions.markets[code].version

    @property
    def behind_definitions(self) -> dict[str, int]:
        """Markets that earlier owners published by definitions not heard of here -> their version.

        Published now, their members would go back.
        """
        return {
            code: market.progress.definitions_read
            for code, market in self.markets.items()
            if market.progress.definitions_read > market.progress.market.definitions
            or self._is_of_another_topic(code)
        }

    @property
    def outdated(self) -> bool:
        """Whether the table must be read again, by definitions that were not heard of when it was read.

        What it holds of members that came with them was passed over.
        """
        if not self._follows_definitions or self._history is None:
            return False
        held = self._history.definitions.markets
        return any(
            held[code].version >= version and not self._is_of_another_topic(code)
            for code, version in self.behind_definitions.items()
        )

    def _is_of_another_topic(self, code: str) -> bool:
        """Whether the market was published by versions of a definitions topic that is gone.

        Versions of the topic that took its place begin anew: one number would be two documents.
        """
        _, published_id = self._definitions_ids.get(code, (0, ""))
        own_id = "" if self._history is None else self._history.definitions.topic_id
        return bool(published_id and own_id) and published_id != own_id

    def _judge_topic(self, code: str) -> None:
        if self._is_of_another_topic(code):
            version, _ = self._definitions_ids[code]
            self.unapplied[code] = DefinitionsTrouble(
                version,
                "the topic of definitions was deleted and created again: nobody knows any more what "
                f"version {version} was, and {code} is not published; {RAISE_EDITION}",
            )

    def _defined(self, code: str, old: MarketCompile | None = None) -> MarketCompile | None:
        """Return a market by the definitions in force; None: it is by them, or cannot be."""
        if not self._follows_definitions or self._history is None:
            return None
        held = self._history.definitions.markets[code]
        version = 0 if old is None else old.progress.market.definitions
        refused = self.unapplied.get(code)
        if held.document is None or held.version in (version, refused and refused.version):
            return None
        self.unapplied.pop(code, None)
        try:
            market = defined_market(self.methodology, self._history.definitions.markets, code)
            return self._compiled(market)
        except (ValueError, LookupError) as error:
            self.unapplied[code] = DefinitionsTrouble(held.version, str(error))
            return None

    def _compiled(self, market: Market) -> MarketCompile:
        history = None if self._history is None else self._history.markets[market.code]
        definitions = (
            None if self._history is None else self._history.definitions.markets[market.code]
        )
        return MarketCompile(market, self.methodology, self._sps, history, definitions)

    # -- table -----------------------------------------------------------------------------------

    def recover(self, records: Mapping[bytes, bytes]) -> None:
        """Take over merged slots and fence records of the table; the larger ``applied`` wins.

        The table may be of other partials than there are now: they were deleted and created again.
        Offsets then go on above all that the table includes, and nothing is published until every
        source partition has sent its rows and a mark again. Raises OwnRecordError.
        """
        best: dict[tuple[str, str, int], tuple[int, bytes]] = {}
        for key, value in records.items():
            with reading(key):
                slot, applied = self._restore(key, value)
            self.replay_through = max(self.replay_through, applied)
            # Of two the later one: between them hours and days may have been labelled and cut.
            if slot is not None and (slot not in best or applied >= best[slot][0]):
                best[slot] = (applied, key)
        for (code, kind, start), (_, key) in best.items():
            with reading(key):
                record = _whole(decode_merged(records[key]), records)
                self.markets[code].ledger.restore((kind, start), record)
        for market in self.markets.values():
            market.recovered()
        found = self._topic_ids_found
        self.anew = bool(found and self.topic_id) and self.topic_id not in found
        next_offset = self.replay_through + 1
        self.base = begin_of_next_log(next_offset) if self.anew else base_of(next_offset)

    def _restore(self, key: bytes, value: bytes) -> tuple[tuple[str, str, int] | None, int]:
        """Return the merged slot of a record, and the partials offset that it includes, or -1.

        One that is no merged slot is restored at once. The slot is then None.
        """
        kind, code, *rest = key.decode().split("|")
        base = key.decode().rpartition("|")[0]
        self._table_keys.setdefault(base, set()).add(key.decode())
        market = self.markets.get(code)
        if market is None:
            return None, -1
        if kind == PARTS_KIND:
            return None, -1  # read with the record that names it
        if kind not in LENGTH_MS and kind != DAY_KIND:
            return None, self._restore_other(market, kind, rest, value)
        record = decode_merged(value)
        if record.parts:
            self._parts.setdefault(base, set()).update(record.parts)
        return (code, kind, int(rest[0])), record.applied

    def _restore_other(
        self, market: MarketCompile, kind: str, rest: Sequence[str], value: bytes
    ) -> int:
        """Restore a record that is no merged slot; return the partials offset it includes, or -1."""
        if kind == FENCE_KIND:
            fence = decode_fence_record(value)
            if fence.edition == self.methodology.edition:
                self._refuse_others(market.progress.market.code, fence)
                if fence.partials_id:
                    self._topic_ids_found.add(fence.partials_id)
                of_topic = fence.definitions, fence.definitions_id
                known = self._definitions_ids.get(market.progress.market.code, (0, ""))
                if of_topic[1] and of_topic >= known:
                    self._definitions_ids[market.progress.market.code] = of_topic
            market.take_fence(fence)
            return market.progress.floor_applied
        if kind == SHOWN_KIND:
            shown = decode_shown(value)
            market.days.restore(int(rest[0]), shown)
            return shown.applied
        if kind == BUYERS_KIND:
            buyers = decode_day_buyers(value)
            market.shoppers.restore(int(rest[0]), buyers)
            return buyers.applied
        if kind == VINTAGE_KIND:
            market.expectation.restore(decode_vintage(value))
        elif kind == SHIFTS_KIND:
            market.shifts.restore(decode_shifts(value))
        return -1

    def _refuse_others(self, code: str, fence: FenceRecord) -> None:
        """Raise RecoveryError for a fence record that inputs of other names have moved.

        The headline would wait for them for ever. Checkpoints tell it before (counted_inputs.py), unless
        somebody has deleted their changelog.
        """
        others = sorted(fence.as_of.keys() - self._sps.keys())
        if others:
            raise RecoveryError(
                f"topics.orders, topics.payments: found {', '.join(self._sps)}, and "
                f"{code} was published from {', '.join(others)}; set them back, or "
                f"{RAISE_EDITION}"
            )

    def table_batch(self) -> TableBatch:
        """Return the merged slots changed since the last batch, and what these replace."""
        batch = TableBatch()
        if self.lost is not None:
            return batch
        for code, market in self.markets.items():
            market.ledger.write_anew(WRITTEN_ANEW_MAX)
            changed = [each for each in market.ledger.merged.items() if not each[1].written]
            # Minutes first: what an hour contains, they do. Other definitions make it of them.
            changed.sort(key=lambda each: each[0][0] != MINUTE)
            for (kind, start), merged in changed:
                base = f"{kind}|{code}|{start}"
                self._write_merged(batch, base, merged, market.ledger, (kind, start))
            if code in self._takeovers:
                self._takeovers[code].note_written(slot_id for slot_id, _ in changed)
            for kind, start in market.take_expired():
                base = f"{kind}|{code}|{start}"
                for keys in (base, _base_of_parts(base)):
                    gone_keys = sorted(self._table_keys.pop(keys, ()))
                    batch.writes += [(key.encode(), None) for key in gone_keys]
                self._parts.pop(base, None)
            gone = [f"{VINTAGE_KIND}|{code}|{day}" for day in market.expectation.take_expired()]
            gone += [f"{SHOWN_KIND}|{code}|{day}" for day in market.days.take_expired()]
            gone += [f"{BUYERS_KIND}|{code}|{day}" for day in market.shoppers.take_expired()]
            for base in gone:
                batch.writes += [(key.encode(), None) for key in self._table_keys.pop(base, ())]
            batch.tombstones += market.ledger.take_garbage()
        return batch

    def fence_batch(self, publication: Publication) -> TableBatch:
        """Return fence record, vintages and detectors, to send when the journal was acknowledged.

        Acknowledged before the journal, they would make a new owner believe that closings were
        journaled, or shifts published, which a crash has lost.
        """
        batch = TableBatch()
        for learnt in publication.vintages:
            base = f"{VINTAGE_KIND}|{publication.market}|{learnt.held.vintage.day}"
            self._write(batch, base, encode_vintage(learnt.record()))
        if publication.detectors is not None:
            self._write(batch, f"{SHIFTS_KIND}|{publication.market}", publication.detectors)
        for shown in publication.shown:
            base = f"{SHOWN_KIND}|{publication.market}|{shown.day}"
            self._write(batch, base, encode_shown(shown.record()))
        for day, kept in publication.buyers:
            base = f"{BUYERS_KIND}|{publication.market}|{day}"
            self._write(batch, base, encode_day_buyers(kept))
        base = f"{FENCE_KIND}|{publication.market}"
        writers = {_writer_of(key) for key in self._table_keys.get(base, ())}
        batch.retired = sorted(writers - {self.nonce})
        self._write(batch, base, encode_fence_record(publication.fence_record))
        return batch

    def replayed(self) -> None:
        """Allow publishing: all that was in the log at the assignment is applied."""
        merged = self._own_writers & self._merged_writers
        if merged and not self._table_keys:
            # Rows are deleted once a merged record that includes them is in the table. So it held
            # some, and what it held cannot be had again from the rows that are left.
            self.lost = (
                f"partials-{self.partition}: rows were merged into a table that holds nothing: the "
                f"merged changelog was deleted; {NEW_EDITION}"
            )
        self._own_writers.clear()
        self._merged_writers.clear()
        for market in self.markets.values():
            market.replayed()

    def _write_merged(
        self, batch: TableBatch, base: str, merged: Merged, ledger: Ledger, slot_id: SlotId
    ) -> None:
        """Write a merged slot, after the parts of its labels where one record cannot hold them."""
        merged.written = True
        # Never below what the restored record contains.
        merged.applied = max(merged.applied, self.through)
        before = ledger.rows_before.get(slot_id)
        record = merged.record(merged.applied, ledger.definitions, before)
        replaced = self._parts.pop(base, set())
        if len(record.labels) > IN_RECORD_BYTES_MAX:
            of_parts = _base_of_parts(base)
            known = self._table_keys.setdefault(of_parts, set())
            for at in range(0, len(record.labels), PART_BYTES):
                key = self._own_key(of_parts)
                part = LabelsPart(record.labels[at : at + PART_BYTES])
                batch.writes.append((key.encode(), encode_labels_part(part)))
                record.parts.append(key)
            known.update(record.parts)
            record.labels = b""
            self._parts[base] = set(record.parts)
        self._write(batch, base, encode_merged(record))
        # Parts that no record read here names are left: a zombie may be about to write it.
        batch.deletes += [key.encode() for key in sorted(replaced)]
        self._table_keys.get(_base_of_parts(base), set()).difference_update(replaced)

    def _own_key(self, base: str) -> str:
        # No key is written twice. So a delete hits only content that its sender has read, and that
        # a written record contains: a zombie may have gone on writing under its key after the new
        # owner read it.
        self._written += 1
        return f"{base}|{self.nonce}.{self._written}"  # see _writer_of

    def _write(self, batch: TableBatch, base: str, value: bytes) -> None:
        own = self._own_key(base)
        batch.writes.append((own.encode(), value))
        batch.deletes += [key.encode() for key in sorted(self._table_keys.get(base, ()))]
        self._table_keys[base] = {own}

    # -- the log ---------------------------------------------------------------------------------

    def apply_chunk(self, chunk: Chunk) -> None:
        """Apply the records of a chunk, in order. Raises OwnRecordError.

        Of the rows of one key only the last is read: compaction might have left no other. A day's row
        comes with each flush, and a takeover that read all of them took three times as long.
        """
        last = dict(zip(chunk.keys, chunk.values, strict=True))
        for position, (key, value) in enumerate(zip(chunk.keys, chunk.values, strict=True)):
            try:
                if key is not None:
                    is_last = value is last[key] or last[key] is None
                    self._apply_record(chunk, position, key, value, is_last=is_last)
            except UNREADABLE as error:
                where = place(chunk.sp, chunk.offset_at(position))
                raise OwnRecordError(key, error, where) from error
        self.through = chunk.last_offset

    def _apply_record(
        self, chunk: Chunk, position: int, key: bytes, value: bytes | None, *, is_last: bool
    ) -> None:
        if value is None:
            # A tombstone: the row is in a merged slot already. A new owner that reads it at the
            # takeover does not delete again all that was ever deleted.
            for each in self.markets.values():
                each.ledger.forget_garbage(key)
            self._note_merged(key)
            return
        parsed = parsed_key(key)
        if parsed is None:
            self._foreign_records += 1
            return
        if isinstance(parsed, MarkKey):
            stamped_ms = chunk.timestamps_ms[position] if chunk.by_broker else None
            mark_record = believed(decode_mark(value), stamped_ms)
            self._apply_mark(parsed, mark_record, chunk.offset_at(position))
            return
        market = self.markets.get(parsed.slot.market)
        try:
            record = decode_encoded_partial(value)
        except OlderFormatError:
            # Of an edition before: level 1 starts from no state of an older version.
            self._foreign_records += 1
            return
        if market is None or record.edition != self.methodology.edition:
            self._foreign_records += 1
            return
        if not is_last:
            return
        members = market.ledger.members
        labels = bytes(record.row)
        row = (members.live if parsed.slot.book == LIVE else members.day)(decode_row(labels))
        offset = chunk.offset_at(position)
        market.ledger.apply_row(
            parsed.slot,
            parsed.sp,
            record.through,
            row,
            record.shoppers,
            key,
            offset=offset,
            news=offset > market.progress.floor_applied
            and not (self.anew and market.shows_open_row(parsed.slot)),
            labels=labels,
        )
        mark = self.marks.get(parsed.sp)
        if mark is not None and mark.through >= record.through:
            # Compaction can leave a row behind the mark that closed its slot.
            market.fold_closed(parsed.sp, mark)

    def _note_merged(self, key: bytes) -> None:
        if not self._table_keys and len(self._merged_writers) < _WRITERS_MAX:
            parsed = parsed_key(key)
            if isinstance(parsed, PartialKey) and parsed.slot.market in self.markets:
                self._merged_writers.add(parsed.writer)

    def _apply_mark(self, key: MarkKey, mark: MarkRecord, offset: int) -> None:
        sp = key.sp
        if mark.edition != self.methodology.edition:
            self._foreign_records += 1
            return
        if self._sent_its_rows_elsewhere(mark):
            return
        if not self._table_keys and len(self._own_writers) < _WRITERS_MAX:
            self._own_writers.add(key.writer)
        known = self._sps.get(sp.topic, [])
        if mark.partitions > len(known) > 0:
            # The topic has got partitions. Those without a mark hold as_of from now on.
            known += [SourcePartition(sp.topic, n) for n in range(len(known), mark.partitions)]
        for market in self.markets.values():
            market.note_live(mark)  # an older mark counts too: live once is enough
        last = self._last_marks.setdefault(sp, deque(maxlen=_LAST_MARKS_MAX))
        while last and better_mark(last[-1][1], mark) is mark:
            last.pop()
        last.append((offset, mark))
        old = self.marks.get(sp)
        best = better_mark(old, mark)
        if best is old:
            return
        self.marks[sp] = best
        for market in self.markets.values():
            market.fold_closed(sp, best)

    def _sent_its_rows_elsewhere(self, mark: MarkRecord) -> bool:
        """Whether the rows that a mark speaks for went into partials that are gone.

        Until a worker hears that the partials were created again, its marks go on. Believed, they
        would let values pass what only the deleted rows held.
        """
        own, named = self.topic_id, mark.partials_id
        return bool(own and named) and own != named

    @property
    def skipped(self) -> dict[str, int]:
        """Number of records and rows so far that are in no value, by reason of ``wire.SKIPPED``."""
        expired = sum(market.ledger.expired_rows for market in self.markets.values())
        return {FOREIGN: self._foreign_records, EXPIRED: expired}

    # -- publishing ------------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Whether the next step has work even if no record comes before it."""
        return any(market.behind for market in self.markets.values())

    @property
    def detecting(self) -> bool:
        """Whether a detector still has earlier minutes to read."""
        return any(market.shifts.behind for market in self.markets.values())

    def catching_up(self, now_ms: int) -> bool:
        """Whether a source partition was last read to its end longer ago than a live one ever is."""
        late_ms = now_ms - LIVE_WITHIN_MS
        return any((mark.caught_up_at or NEVER_MS) < late_ms for mark in self.marks.values())

    def step(self, now_ms: int) -> list[Publication]:
        """Return the publications due: ``as_of`` moved, or a value changed at its ``as_of``.

        Empty until everything is applied that the table contains. A paused owner may have written
        on after this one read the highwater, and its version must not get this one's older rows.
        """
        if self.through < self.replay_through or self.lost is not None:
            return []
        if self.anew:
            if any(sp not in self.marks for sps in self._sps.values() for sp in sps):
                return []  # rows come before the first mark; until then the values would be lower
            self.anew = False
        found = (
            market.step(self._marks_of(code, market), self.through, now_ms)
            for code, market in self.markets.items()
            if code not in self.behind_definitions
        )
        return [self._bound(each) for each in found if each is not None]

    def _bound(self, publication: Publication) -> Publication:
        """Name the topics that the publication's numbers are of."""
        by_document = self._history is not None and publication.fence.definitions > 0
        definitions_id = self._history.definitions.topic_id if by_document and self._history else ""
        record = structs.replace(
            publication.fence_record, partials_id=self.topic_id, definitions_id=definitions_id
        )
        return replace(publication, fence_record=record)

    def _marks_of(self, code: str, market: MarketCompile) -> Mapping[SourcePartition, MarkRecord]:
        """Return the marks that count for a market: all, or those since an operator's reset.

        A mark that was true to a clock that ran ahead stays the best one of a quiet source partition,
        for as long as the clock was ahead. A new owner reads it again.
        """
        reset = market.declared_reset
        if reset is None or reset.partials_end < 0:
            return self.marks
        if reset.partials_id != self.topic_id:
            if not reset.partials_id or reset == self._resets_found[code]:
                return self.marks  # these partials were created since
            # Those that it names were created since, which the worker is about to hear. All marks that
            # this has read are from before the reset.
            return {}
        begin = self.base + reset.partials_end
        return {
            sp: next(mark for offset, mark in last if offset >= begin)
            for sp, last in self._last_marks.items()
            if last[-1][0] >= begin
        }


def _whole(record: MergedRecord, records: Mapping[bytes, bytes]) -> MergedRecord:
    """Return a record with the labels that it names parts of. LookupError where one is missing."""
    if not record.parts:
        return record
    parts = [decode_labels_part(records[key.encode()]).part for key in record.parts]
    return structs.replace(record, labels=b"".join(parts))


def _base_of_parts(base: str) -> str:
    """Return what the keys of a slot's parts begin with: `p|PK|m120000` of `m|PK|120000`."""
    kind, code, start = base.split("|")
    return f"{PARTS_KIND}|{code}|{kind}{start}"


def _writer_of(table_key: str) -> str:
    """Return the nonce of the writer of a table record."""
    return table_key.rpartition("|")[2].rpartition(".")[0]
