"""The rules of exactness. Each can be switched off, and the model must then fail.

A switch either changes the glue (the order of effects) or patches the function of streams/ that holds
the rule. ``patched`` undoes everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from unittest.mock import patch

import msgspec

from streams.flow import (
    chain,
    fold,
    fold_corrections,
    fold_orders,
    ledger,
    market,
    market_progress,
    merged,
    source,
    source_state,
    topic_progress,
)
from streams.flow import compile as compile_module
from streams.flow.admission import TOO_LATE
from streams.flow.chunk import Chunk
from streams.flow.state import FOREVER_MS, NEVER_MS, SlotKey
from streams.flow.topic_progress import shows_live
from streams.index import member_rows
from streams.index.label_text import MORE
from streams.index.values import Fence
from streams.worker import topic_keeper, topic_needs
from streams.worker.transactions import AbortedTransactions
from tests.model.topics import NOTHING


@dataclass(frozen=True)
class Switch:
    """Turns one rule off. ``how``: the name of a flag that the glue reads, or what replaces code."""

    name: str
    rule: str
    how: str | AbstractContextManager


def _wrapped(owner: type | ModuleType, name: str, wrap: Callable) -> AbstractContextManager:
    return patch.object(owner, name, wrap(getattr(owner, name)))


def _chain_by_seq(records: dict) -> list[str]:
    """The newest n records by number, whichever writer they are of."""
    by_seq: dict[int, str] = {}
    for key in sorted(records, key=lambda key: -records[key].through):
        by_seq[records[key].seq] = key
    for head in sorted(records, key=lambda key: -records[key].through):
        record = records[head]
        wanted = range(record.seq - record.n + 1, record.seq)
        if all(seq in by_seq for seq in wanted):
            return [by_seq[seq] for seq in wanted] + [head]
    return []


def _ending_anywhere(best_chain: Callable) -> Callable:
    def best(records: dict) -> list[str]:
        replace = msgspec.structs.replace
        return best_chain({key: replace(each, part=False) for key, each in records.items()})

    return best


def _delete_all_foreign(self, retired) -> list[bytes]:
    gone = [entry.key for entry in retired] + list(self._foreign)
    self._foreign.clear()
    return [key.encode() for key in gone]


def _contains_any(self, sp: str, bit: int) -> bool:
    return any(bits >> bit & 1 for bits in self.folded.values())


def _shared_watermarks(original):
    def fold_with_first_timestamp(self, chunk, start=0, stop=None):
        first = chunk.timestamps_ms[0] if len(chunk) else 0
        same = Chunk(
            chunk.sp,
            chunk.first_offset,
            chunk.last_offset,
            chunk.keys,
            chunk.values,
            [first] * len(chunk),
            chunk.offsets,
            chunk.fetch_offset,
        )
        return original(self, same, start, stop)

    return fold_with_first_timestamp


def _one_watermark_for_all(original):
    def fold_with_shared_watermark(self, chunk, start=0, stop=None):
        stop = len(chunk) if stop is None else min(stop, len(chunk))
        folded = None
        for position in range(start, stop):
            part = original(self, chunk, position, position + 1)
            if folded is None:
                folded = part
            else:
                folded.outcomes.update(part.outcomes)
                folded.late += part.late
                folded.dead += part.dead
            highest = max(state.watermark_ms for state in self.source.markets.values())
            for state in self.source.markets.values():
                if state.watermark_ms < highest:
                    state.watermark_ms = highest
                    self.source.close(state)
        if folded is None:
            return original(self, chunk, start, stop)
        if stop == len(chunk):
            self.source.through = chunk.last_offset
        return folded

    return fold_with_shared_watermark


def _last_row_wins(original):
    def apply(self, slot: SlotKey, sp, through, row, sketch, key, **how):
        rows = (self._open_panes if slot.book == "live" else self._open_days).get(slot.slot, {})
        if sp in rows:
            rows[sp].through = -1
        original(self, slot, sp, through, row, sketch, key, **how)

    return apply


def _own_clock_is_progress(original):
    def step(self, marks, applied, now_ms):
        if self.progress.live:
            self.progress.final_ms = max(self.progress.final_ms, now_ms)
        return original(self, marks, applied, now_ms)

    return step


def _no_floor(self, fence) -> None:
    self.live = self.live or fence.live


def _unseen_left_out(market_code, sps, marks, *, live):
    found = [marks[sp].watermarks.get(market_code, NEVER_MS) for sp in sps if sp in marks]
    seen = [progress_ms for progress_ms in found if progress_ms != NEVER_MS]
    return topic_progress.TopicProgress(min(seen, default=NEVER_MS), bool(seen))


def _no_key(self, seq: int) -> str:
    return f"{self.source.sp.topic}|{self.source.sp.partition}||{seq}"


def _partial_key_of_slot(slot, sp, writer: str) -> bytes:
    return f"{slot.market}|{slot.book}|{slot.slot}|{sp}|".encode()


def _largest_is_headline(self) -> None:
    """Version 0.2: what one input has reached counts for both."""
    self.joined = set(self.as_of_ms)
    self.headline_ms = max([self.headline_ms, *self.as_of_ms.values()])


def _recovered_with(**wrong):
    original = compile_module.PartitionCompile.recover

    def recover(self, records):
        original(self, records)
        vars(self).update(wrong)

    return recover


def _restored_without(place: int):
    original = source_state.SourceState.restore_progress

    def restore_progress(self, *what) -> None:
        original(self, *what[:place], {}, *what[place + 1 :])

    return restore_progress


def _follows_without_generation(self, held) -> bool:
    return (self.edition, self.as_of_ms, self.applied) >= (
        held.edition,
        held.as_of_ms,
        held.applied,
    )


def _count_generation(self, generation: int) -> None:
    self.generation = generation


def _take_of_any_generation(original):
    def take_fence(self, fence) -> None:
        newest = max(fence.generation, self.generation)
        original(self, msgspec.structs.replace(fence, generation=newest))

    return take_fence


def _final_of_seen(original):
    def advance(self, marks):
        moved = original(self, marks)
        self.final_ms = max([self.final_ms, *self.as_of_ms.values()])
        return moved

    return advance


def _write_shared(self, batch, base: str, value: bytes) -> None:
    batch.writes.append((f"{base}|".encode(), value))  # as in the draft: one key for all writers


def _forget_unacknowledged(original):
    def flush(self, unacknowledged=frozenset()):
        return original(self)

    return flush


def _live_by_this_mark(self, mark) -> None:
    watermark_ms = mark.watermarks.get(self.market.code, NEVER_MS)
    self.live = self.live or shows_live(watermark_ms, mark.sent_at)


async def _judges_nothing(_keeper: object) -> None:
    """Hold no partition."""


def _write_under_one_key(original):
    def write(self, batch, base: str, value: bytes) -> None:
        self._written = 0
        held = self._table_keys.get(base, set())
        self._table_keys[base] = held - {f"{base}|{self.nonce}.1"}
        original(self, batch, base, value)

    return write


def _expire_at_once(original):
    def expire(self, read_ms: int) -> None:
        original(self, read_ms)
        self._drop_expired(read_ms)

    return expire


def _begin_with_kept_rows(original):
    def apply(self, slot: SlotKey, sp, through, row, sketch, key, **how):
        begun = dict(self.first_ms)
        original(self, slot, sp, through, row, sketch, key, **how)
        if key in self.garbage:
            self.first_ms = begun

    return apply


def _keep_open_rows(original):
    def expire(self, horizon_ms: int):
        self._drop_open = lambda *_: None
        yield from original(self, horizon_ms)
        self.first_day = NEVER_MS

    return expire


def _notes_stay_behind(original):
    def restore_words(self, entry, record) -> None:
        original(self, entry, msgspec.structs.replace(record, notes=[]))

    return restore_words


def _room_anew(original):
    def unpacked(book, packed):
        row = original(book, packed)
        row.book = book._replace(labels_max=book.labels_max + len(packed.labels))
        return row

    return unpacked


def _without_sets(original):
    def unpacked(book, packed):
        return original(book, msgspec.structs.replace(packed, sets=[]))

    return unpacked


SWITCHES = [
    Switch("contiguity guard off", "exactness rule 2", "no_guard"),
    Switch(
        "previous not checked",
        "exactness rule 3, sequence V3",
        patch.object(chain, "_best_chain", _chain_by_seq),
    ),
    Switch(
        "a chain may end within a flush",
        "exactness rule 3",
        _wrapped(chain, "_best_chain", _ending_anywhere),
    ),
    Switch(
        "writer left out of checkpoint keys",
        "exactness rule 3, sequence V3",
        patch.object(chain.Chain, "_key", _no_key),
    ),
    Switch(
        "writer left out of partial keys",
        "exactness rule 5, sequences V4 and V12",
        patch.object(source, "partial_key", _partial_key_of_slot),
    ),
    Switch("late acknowledged after the checkpoint", "exactness rule 3, sequence V1", "late_after"),
    Switch("no rows sent again at recovery", "exactness rule 5, sequence V2", "no_resend"),
    Switch(
        "first flush before the rows were acknowledged",
        "exactness rule 5, sequence V2",
        "flush_early",
    ),
    Switch(
        "foreign records deleted at once",
        "exactness rule 3, sequence V5",
        patch.object(chain.Chain, "_deletes", _delete_all_foreign),
    ),
    Switch(
        "records retired before their rows were acknowledged",
        "exactness rule 3, sequence V2",
        _wrapped(chain.Chain, "flush", _forget_unacknowledged),
    ),
    Switch(
        "retired records deleted before the flush", "exactness rule 3, sequence V5", "delete_early"
    ),
    Switch(
        "merged slot does not name source partitions",
        "exactness rule 6, sequences V6 and V7",
        patch.object(merged.Merged, "contains", _contains_any),
    ),
    Switch(
        "labels of an hour do not name their rows",
        "exactness rule 6",
        patch.object(merged.Merged, "lacks_labels", lambda *_: False),
    ),
    Switch(
        "what is cut loses its member",
        "exactness rule 6",
        patch.object(member_rows.MemberRows, "cut", lambda _, stored: stored[0] + MORE),
    ),
    Switch(
        "tombstones before the merged record", "exactness rule 6, sequence V6", "tombstone_early"
    ),
    Switch(
        "level 2's clock decides what is final",
        "exactness rule 1 and sequence V8",
        _wrapped(market.MarketCompile, "step", _own_clock_is_progress),
    ),
    Switch("fence record after Redis", "exactness rule 7, sequence V9", "fence_late"),
    Switch(
        "a new owner takes no floor",
        "exactness rule 7, sequence V9",
        patch.object(market_progress.MarketProgress, "take_fence", _no_floor),
    ),
    Switch(
        "arrival of a chunk from its first record",
        "exactness rule 1, sequence V10",
        _wrapped(fold.SourceFold, "fold", _shared_watermarks),
    ),
    Switch(
        "one watermark for all markets",
        "exactness rule 1, sequence V10",
        _wrapped(fold.SourceFold, "fold", _one_watermark_for_all),
    ),
    Switch("Redis fence off", "exactness rule 7", "no_redis_fence"),
    Switch("ids in a record of their own", "exactness rule 3", "ids_apart"),
    Switch("mark before the rows it covers", "exactness rule 5", "mark_first"),
    Switch(
        "the last row wins, not the larger through",
        "exactness rule 5, sequence V4",
        _wrapped(ledger.Ledger, "apply_row", _last_row_wins),
    ),
    Switch(
        "table keys without the writer",
        "exactness rule 6",
        patch.object(compile_module.PartitionCompile, "_write", _write_shared),
    ),
    Switch(
        "headline is the larger of the sources",
        "exactness rule 7",
        patch.object(market_progress.MarketProgress, "_advance_headline", _largest_is_headline),
    ),
    Switch(
        "as_of from those that have seen the market",
        "exactness rule 5",
        patch.object(market_progress, "topic_progress", _unseen_left_out),
    ),
    Switch(
        "published below what the table contains",
        "exactness rule 7",
        patch.object(
            compile_module.PartitionCompile, "recover", _recovered_with(replay_through=-1)
        ),
    ),
    Switch(
        "unseen partitions of a topic take no part in what is final",
        "decision 0100",
        _wrapped(market_progress.MarketProgress, "advance", _final_of_seen),
    ),
    Switch(
        "caught up past the close of a day whose row waits",
        "decision 0101",
        patch.object(source_state.SourceState, "pending_days_close_ms", lambda _: FOREVER_MS),
    ),
    Switch(
        "one table key a writer",
        "decision 0102",
        _wrapped(compile_module.PartitionCompile, "_write", _write_under_one_key),
    ),
    Switch(
        "live by the mark at hand",
        "decision 0103",
        patch.object(market_progress.MarketProgress, "note_live", _live_by_this_mark),
    ),
    Switch(
        "retention before its closing was acknowledged",
        "decision 0104",
        _wrapped(market.MarketCompile, "_expire", _expire_at_once),
    ),
    Switch(
        "coverage from kept rows only",
        "exactness rule 6",
        _wrapped(ledger.Ledger, "apply_row", _begin_with_kept_rows),
    ),
    Switch(
        "open rows outlive what was merged of their day",
        "exactness rule 6",
        _wrapped(ledger.Ledger, "expire", _keep_open_rows),
    ),
    Switch("inputs read uncommitted", "exactness rule 1", "read_uncommitted"),
    Switch("a worker's own clock believed", "exactness rule 5", "own_clock"),
    Switch("the last stable offset taken for the log's end", "exactness rule 5", "stable_is_end"),
    Switch(
        "marks of partials that are gone believed",
        "exactness rule 9",
        patch.object(compile_module.PartitionCompile, "_sent_its_rows_elsewhere", lambda *_: False),
    ),
    Switch(
        "nothing waits for rows of created partials",
        "exactness rule 9",
        patch.object(compile_module.PartitionCompile, "recover", _recovered_with(anew=False)),
    ),
    Switch(
        "generation left out of versions",
        "exactness rule 7",
        patch.object(Fence, "follows", _follows_without_generation),
    ),
    Switch(
        "a generation begins where the last one was",
        "exactness rule 7",
        patch.object(market_progress.MarketProgress, "_begin_generation", _count_generation),
    ),
    Switch(
        "a new owner takes as_of of any generation",
        "exactness rule 7",
        _wrapped(market_progress.MarketProgress, "take_fence", _take_of_any_generation),
    ),
    Switch(
        "marks from before a reset count",
        "exactness rule 7",
        patch.object(compile_module.PartitionCompile, "_marks_of", lambda self, *_: self.marks),
    ),
    Switch(
        "only the last mark of a source partition counts after a reset",
        "exactness rule 7",
        patch.object(compile_module, "_LAST_MARKS_MAX", 1),
    ),
    Switch(
        "marks do not say how many partitions there are", "exactness rule 9", "uncounted_partitions"
    ),
    Switch(
        "final by partitions known a moment ago",
        "exactness rule 9",
        patch.object(market_progress, "asked_within_ms", lambda _: 0),
    ),
    Switch("gaps are passed over", "exactness rule 9", "passes_gaps"),
    Switch(
        "floors of panes that gave way forgotten",
        "exactness rule 11",
        patch.object(source_state.SourceState, "restore_progress", _restored_without(1)),
    ),
    Switch("a new partition begins at its end", "exactness rule 9", "begins_at_end"),
    Switch("marks sent on an old answer about the topics", "exactness rule 9", "topics_not_asked"),
    Switch("inputs read by name", "exactness rule 9", "by_name"),
    Switch(
        "a state goes on over another log",
        "exactness rule 9",
        patch.object(topic_keeper.TopicKeeper, "judge", lambda *_: None),
    ),
    Switch(
        "a partition without a state believes its topic",
        "exactness rule 9",
        patch.object(topic_keeper.TopicKeeper, "judge_new", _judges_nothing),
    ),
    Switch(
        "an abort marker ends nothing",
        "exactness rule 1",
        patch.object(AbortedTransactions, "end", lambda *_: None),
    ),
    Switch(
        "doubts forgotten by a new owner",
        "exactness rule 3",
        patch.object(source_state.SourceState, "restore_progress", _restored_without(3)),
    ),
    Switch(
        "a new owner has room for labels that a row had refused",
        "exactness rule 1",
        _wrapped(chain, "unpacked", _room_anew),
    ),
    Switch(
        "label sets forgotten by a new owner",
        "exactness rule 3",
        _wrapped(chain, "unpacked", _without_sets),
    ),
    Switch(
        "corrections counted as often as they come",
        "exactness rule 4",
        patch.object(fold_corrections, "notes_of", lambda *_: []),
    ),
    Switch(
        "refused orders are not remembered",
        "exactness rule 4",
        patch.object(fold_orders, "remember_refused", lambda *_: None),
    ),
    Switch(
        "late orders reach no day",
        "exactness rule 4",
        patch.object(fold_orders, "fold_late", lambda *_: TOO_LATE),
    ),
    Switch(
        "corrections forgotten by a new owner",
        "exactness rule 4",
        _wrapped(chain.Chain, "_restore_words", _notes_stay_behind),
    ),
]

BY_NAME = {switch.name: switch for switch in SWITCHES}


@contextmanager
def patched(switch: Switch | None) -> Iterator[frozenset[str]]:
    """Apply the switch's patches; yield the flags for the glue."""
    how = None if switch is None else switch.how
    replaces = nullcontext() if how is None or isinstance(how, str) else how
    silent = [patch.object(module, "_log", NOTHING) for module in (topic_keeper, topic_needs)]
    with silent[0], silent[1], replaces:
        yield frozenset([how] if isinstance(how, str) else ())
