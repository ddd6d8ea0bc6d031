"""Properties P1 to P9 of docs/exactness.md, checked at every effect and at the end."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from streams.flow import chain as chain_module
from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import in_log
from streams.flow.ledger import Ledger
from streams.flow.log_change import LogChange
from streams.flow.publication import Closing, Publication
from streams.flow.state import DAY, LIVE, SlotKey
from streams.flow.wire import MarkKey, believed, decode_mark, decode_partial, parse_key
from streams.index.label_rows import PackedRow
from streams.index.level import LEVEL
from streams.index.measured import MEASURED
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, day_number, rfc3339
from streams.index.partials import Layout, Row
from streams.index.values import Value
from tests.model import labels
from tests.model.kafka import Log, Record
from tests.support.by_name import expected_row, member_names, said_row, without_zeros
from tests.support.reference import (
    PAYMENT_INDICES,
    SHOPPER_INDICES,
    WINDOWS,
    Counted,
    Found,
    Limits,
    MarketRules,
    Rules,
    SourceReference,
    day_end_ms,
    day_orders,
    day_values,
    live_values,
    local_day,
    shopper_values,
    to_ms,
)

if TYPE_CHECKING:
    from tests.model.workers import Level2
    from tests.model.world import Config, World

HOURS_KEPT_MS = 9 * 7 * DAY_MS
MINUTES_KEPT_MS = 25 * HOUR_MS
DAYS_KEPT = 1_200
IMPORT_MARKET = "BB"
PANES_KEPT_MS = 8 * MINUTE_MS
LIVE_WITHIN_MS = HOUR_MS


class Violation(AssertionError):
    """A broken property. ``rule`` names it."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


@dataclass
class Mark:
    through: int
    watermarks: dict[str, int]
    caught_up_at: int | None
    sent_at: int


Place = tuple[int, int]
"""(how often the topic was created, offset) in one partition of the partials."""


@dataclass
class View:
    """Rows and marks that the log of one partials partition holds up to some offset."""

    offset: Place = (0, -1)
    number: int = 1
    rows: dict[tuple[SourcePartition, SlotKey], int] = field(default_factory=dict)
    """Largest ``through`` of a row."""
    first: dict[tuple[str, str], int] = field(default_factory=dict)
    """(market, topic) -> first pane with a row."""
    marks: dict[SourcePartition, Mark] = field(default_factory=dict)
    last: dict[SourcePartition, dict[str, Any]] = field(default_factory=dict)
    """Source partition -> writer -> its last mark: what compaction leaves of them."""
    live: set[str] = field(default_factory=set)
    read: set[SourcePartition] = field(default_factory=set)
    """Those that ever had a mark."""
    partitions: dict[str, int] = field(default_factory=dict)
    """Topic -> the most partitions that a mark named."""
    best: dict[tuple[str, str], int] = field(default_factory=dict)
    """(market, topic) -> largest progress at any offset so far."""


def limits_of(config: Config) -> Limits:
    """Return what a row has room for in a world of this shape."""
    return Limits(pane_labels=3, day_labels=3) if config.few_labels else Limits()


class Oracle:
    """Checks every effect and raises Violation."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rules = Rules.of(world.methodology)
        self.references = {
            sp: self._reference(sp)
            for topic in world.sps_by_topic
            for sp in world.sps_by_topic[topic]
        }
        self._names = {
            (code, book): member_names(Layout(market), book)
            for code, market in world.methodology.markets.items()
            for book in (LIVE, DAY)
        }
        self.set_aside: dict[str, dict[SourcePartition, set[int]]] = {
            "late": {sp: set() for sp in world.sps},
            "dead": {sp: set() for sp in world.sps},
        }
        self._appended: dict[SourcePartition, list[tuple[int, int]]] = {sp: [] for sp in world.sps}
        self._arrived_live: set[tuple[SourcePartition, str | None]] = set()
        """Source partitions and markets of which some record arrived about when it was appended."""
        self._unread: dict[SourcePartition, list[tuple[int, int]]] = {}
        """(offset, when) of what was appended to a log that no state has gone on in."""
        self._aborted: set[tuple[SourcePartition, int]] = set()
        """Numbers of aborted records in logs that are gone."""
        self._undecided: dict[SourcePartition, deque[Record]] = {sp: deque() for sp in world.sps}
        self._entries: dict[str, list[tuple]] = {}
        self._views: dict[int | tuple[int, Place], View] = {}
        """Partition of the partials, with the place from which on its marks count -> their view."""
        self._decoded: dict[bytes, object] = {}
        self._nothing: dict[str, dict[str, Found]] = {}
        self._publications: list[Publication] = []
        self._through: dict[int, int] = {}
        self._redis_last: dict[str, tuple[int, int, int]] = {}
        self._resets: set[tuple[str, int]] = set()
        """Generations of markets of which the journal says why."""
        self.closings: dict[tuple[str, str, int], Closing] = {}
        self.journaled: dict[str, object] = {}
        self.gaps: list[tuple[SourcePartition, int, LogChange]] = []
        """(source partition, number of the first record after it, what accepts it)."""
        self._fills: dict[str, list[tuple[tuple[int, Place], dict[str, int]]]] = {}
        """By market: the partials that were created anew, up to where they were filled, and what
        was closed of each book by then."""
        self._too_late_to_say_live: set[tuple[SourcePartition, str, int]] = set()
        """(source partition, writer, sent at) of marks that landed so late that nobody believes what
        they say is live."""
        self._horizons: dict[str, list[tuple[tuple[int, Place], int]]] = {}
        """Market -> (partition, place up to which it was published), horizon; the horizons rise."""
        self.known_live: set[str] = set()
        """Markets that an acknowledged fence record says are live."""
        self.publications = 0
        self.levels = 0

    def _reference(self, sp: SourcePartition) -> SourceReference:
        limits = limits_of(self.world.config)
        return SourceReference(self.rules, sp.topic == "payments", limits=limits)

    # -- sources -----------------------------------------------------------------------------

    def source_appended(self, sp: SourcePartition, record: Record) -> None:
        if self.world.is_accepted(sp):
            number = self.world.number(sp, record.offset)
            self._appended[sp].append((number, self.world.now_ms))
        else:
            self._unread.setdefault(sp, []).append((record.offset, self.world.now_ms))
        self._undecided[sp].append(record)
        if record.timestamp_ms >= self.world.now_ms - LIVE_WITHIN_MS:
            self._arrived_live.add((sp, _market_of(record.value)))
        self.source_decided(sp)

    def source_added(self, sp: SourcePartition) -> None:
        """Note a partition that an input has got."""
        self.references[sp] = self._reference(sp)
        self._appended[sp] = []
        self._undecided[sp] = deque()
        for held in self.set_aside.values():
            held[sp] = set()

    def source_decided(self, sp: SourcePartition) -> None:
        """Let the reference have what no open transaction holds back, without what was aborted."""
        log, waiting = self.world.sources[sp], self._undecided[sp]
        if not self.world.is_accepted(sp):
            return
        while waiting and waiting[0].offset < log.stable_end:
            record = waiting.popleft()
            if log.was_aborted(record.offset):
                continue
            number = self.world.number(sp, record.offset)
            _, _, value, timestamp_ms, doubtful = record
            self.references[sp].add(number, value, timestamp_ms, doubtful=doubtful)

    def log_accepted(self, sp: SourcePartition) -> None:
        """Number what was appended before a state went on in this log."""
        unread = self._unread.pop(sp, [])
        self._appended[sp] += [(self.world.number(sp, offset), at_ms) for offset, at_ms in unread]
        self.source_decided(sp)

    def log_lost(self, sp: SourcePartition, through: int) -> None:
        """Note that the source's log goes, which every state has folded up to ``through``.

        What an open transaction held is in no state and never will be.
        """
        self._aborted |= {
            (sp, each) for each, _ in self._appended[sp] if self._was_aborted(sp, each)
        }
        self._undecided[sp].clear()
        self._unread.pop(sp, None)
        self.gaps = [each for each in self.gaps if each[0] != sp]
        self._appended[sp] = [each for each in self._appended[sp] if each[0] <= through]

    def gap_found(self, sp: SourcePartition, begin: int, change: LogChange) -> None:
        """Note what is gone before ``begin``; a gap that has grown is one."""
        at = self.world.number(sp, 0) + int(change.name.partition(":")[2].partition("..")[0])
        self.gaps = [each for each in self.gaps if each[0] != sp or each[1] <= at]
        self.gaps.append((sp, begin, change))

    def _was_aborted(self, sp: SourcePartition, number: int) -> bool:
        base = self.world.number(sp, 0)
        return (sp, number) in self._aborted or (
            number >= base and self.world.sources[sp].was_aborted(number - base)
        )

    def outcomes_from(self, sp: SourcePartition, offset: int) -> str:
        """Outcomes of the records from ``offset`` on, for the script."""
        found = self.references[sp].outcomes
        offsets = [each for each, _ in self._appended[sp] if each >= offset]
        return ", ".join(found.get(each, "waits") for each in offsets)

    def _named(self, market: str, book: str, row: Row) -> dict[tuple, int]:
        names = self._names[market, book]
        return {names[column]: value for column, value in enumerate(row) if value}

    # -- level 1 -----------------------------------------------------------------------------

    def late_landed(self, log: Log, record: Record) -> None:
        self._set_aside_landed("late", ("too_late", "day_only"), log, record)

    def dead_landed(self, log: Log, record: Record) -> None:
        self._set_aside_landed("dead", ("dead",), log, record)
        sp = self._sp_of(log)
        expected = self.references[sp].reasons[int(record.key or b"")]
        if record.value != expected.encode():
            raise Violation("P7", f"{sp} {record.key!r} dead for {record.value!r}, not {expected}")

    def _set_aside_landed(
        self, kind: str, outcomes: tuple[str, ...], log: Log, record: Record
    ) -> None:
        sp, offset = self._sp_of(log), int(record.key or b"")
        found = self.references[sp].outcomes[offset]
        if found not in outcomes or (kind == "late" and record.value != found.encode()):
            raise Violation("P7", f"{sp} {offset} was put into {kind}, but it is {found}")
        self.set_aside[kind][sp].add(offset)

    def _sp_of(self, log: Log) -> SourcePartition:
        _, topic, partition = log.name.split("-")
        return SourcePartition(topic, int(partition))

    def checkpoint_landed(self, log: Log, record: Record) -> None:
        sp = self._sp_of(log)
        if record.value is not None and not (record.key or b"").endswith(b"-ids"):
            decoded = chain_module.decode_checkpoint(record.value)
            self._check_set_aside(sp, decoded.through)
            self._check_gaps(sp, decoded.through)
            sketches = {(market, LIVE, slot): held for market, slot, held in decoded.sketches}
            for *slot, packed in decoded.rows:
                sketch = sketches.pop(tuple(slot), b"")
                self._check_row(sp, SlotKey(*slot), packed, sketch, decoded.through)
            if sketches:
                raise Violation("P1", f"{sp}: sketches without rows: {sorted(sketches)}")
        table = {key: value for key, value in log.table().items() if not key.endswith(b"-ids")}
        records = {k.decode(): self._decode(v) for k, v in table.items()}
        ended = any(not record.part for record in records.values())
        if ended and not chain_module._best_chain(records):
            raise Violation("P5", f"{sp}: no complete chain among {sorted(table)}")

    def _check_gaps(self, sp: SourcePartition, through: int) -> None:
        """Property P7: no state passes what nobody read, unless the operator was told by name."""
        for gapped, begin, change in self.gaps:
            passed = gapped == sp and through >= begin - 1
            if passed and change.as_accepted(self.world.accepted) is None:
                raise Violation(
                    "P7", f"{sp}: through {through} past {change.name}, which nobody accepted"
                )

    def _decode(self, value: bytes) -> object:
        found = self._decoded.get(value)
        if found is None:
            found = self._decoded[value] = chain_module.decode_checkpoint(value)
        return found

    def _check_set_aside(self, sp: SourcePartition, through: int) -> None:
        reference = self.references[sp]
        for kind, outcome in (("late", "too_late"), ("late", "day_only"), ("dead", "dead")):
            missing = reference.with_outcome(outcome, through) - self.set_aside[kind][sp]
            if missing:
                raise Violation(
                    "P7", f"{sp}: checkpoint through {through} without {kind} {sorted(missing)}"
                )

    def _check_row(
        self, sp: SourcePartition, slot: SlotKey, packed: PackedRow, sketch: bytes, through: int
    ) -> None:
        row = said_row(slot.book, packed, sketch)
        expected = expected_row(self.references[sp], slot, through)
        if row != expected:
            raise Violation("P1", f"{sp} {slot} through {through}: {row}, expected {expected}")

    def partial_landed(self, log: Log, record: Record) -> None:
        entries = self._entries.setdefault(log.name, [])
        if record.value is None or record.key is None:
            return
        parsed = parse_key(record.key)
        if isinstance(parsed, MarkKey):
            said = decode_mark(record.value)
            mark = believed(said, record.timestamp_ms)
            if mark.live != said.live:
                self._too_late_to_say_live.add((parsed.sp, parsed.writer, mark.sent_at))
            if any((parsed.sp, market) not in self._arrived_live for market in mark.live):
                raise Violation("P8", f"mark of {parsed.sp}: {mark.live} live")
            if self.world.recovered_on[parsed.writer] == log.number:
                place = log.number, record.offset
                entries.append((place, parsed.sp, None, mark, parsed.writer))
            # else its rows went into partials that are gone
            self._check_caught_up(parsed.sp, mark.through, mark.caught_up_at)
            held = self.references[parsed.sp].watermarks_at(mark.through)
            for market, watermark_ms in mark.watermarks.items():
                if held.get(market) != watermark_ms:
                    raise Violation("P1", f"mark of {parsed.sp} through {mark.through}: {market}")
            return
        partial = decode_partial(record.value)
        entries.append(((log.number, record.offset), parsed.sp, parsed.slot, partial.through, ""))
        self._check_row(parsed.sp, parsed.slot, partial.row, partial.shoppers, partial.through)

    def _check_caught_up(self, sp: SourcePartition, through: int, caught_up_at: int | None) -> None:
        """Whatever was appended before ``caught_up_at`` is folded, unless it was aborted."""
        if caught_up_at is None or self.world.config.resets:  # its log's time was wrong
            return
        for offset, appended_ms in self._unread.get(sp, ()):
            if appended_ms < caught_up_at:
                text = (
                    f"{sp}: caught up at {caught_up_at}, {offset} of another log came {appended_ms}"
                )
                raise Violation("P8", text)
        for offset, appended_ms in reversed(self._appended[sp]):
            if offset <= through:
                return
            if appended_ms < caught_up_at and not self._was_aborted(sp, offset):
                raise Violation(
                    "P8",
                    f"{sp}: a mark through {through} is caught up at {caught_up_at}, but "
                    f"{offset} was appended at {appended_ms}",
                )

    # -- level 2 -----------------------------------------------------------------------------

    def filled(self, worker: Level2, closed: Mapping[str, dict[str, int]]) -> None:
        """Note up to where rows filled partials that were created anew, and what was closed then.

        ``closed``: live market -> book -> end of the hours, and day before which days, were final.
        """
        assert worker.compiled is not None
        place = worker.reads_number, in_log(worker.compiled.through)
        for market, until in closed.items():
            self._fills.setdefault(market, []).append(((worker.partition, place), until))

    def view(self, partition: int, applied: Place) -> View:
        """View of the partition's log up to ``applied``, kept and extended since that mostly rises."""
        view = self._views.get(partition)
        if view is None or view.offset > applied:
            view = View()
        self._views[partition] = view
        self._read_on(view, partition, applied)
        return view

    def _view_since(self, view: View, partition: int, began: Place) -> View:
        """View of what ``view`` holds, of whose marks only those from a place on count."""
        key = partition, began
        number, end = began
        before = number, end - 1
        since = self._views.get(key)
        if since is None or since.offset > view.offset:
            since = View()
            self._read_on(since, partition, min(before, view.offset))
            for held in (since.marks, since.last, since.best):
                held.clear()
        if view.offset >= before:
            self._read_on(since, partition, view.offset)
            self._views[key] = since
        return since

    def _read_on(self, view: View, partition: int, applied: Place) -> None:
        entries = self._entries.get(f"partials-{partition}", [])
        at = bisect_right(entries, view.offset, key=lambda entry: entry[0])
        while at < len(entries) and entries[at][0] <= applied:
            if entries[at][0][0] > view.number:
                view.number = entries[at][0][0]
                view.last.clear()
                view.marks.clear()  # rows are merged or sent again; marks count anew
                view.live &= self.known_live
            self._extend(view, *entries[at][1:])
            at += 1
        view.offset = applied

    def _extend(
        self, view: View, sp: SourcePartition, slot: SlotKey | None, what: object, writer: str
    ) -> None:
        if slot is not None:
            assert isinstance(what, int)
            view.rows[sp, slot] = max(what, view.rows.get((sp, slot), -1))
            if slot.book == LIVE:
                key = (slot.market, sp.topic)
                view.first[key] = min(slot.slot, view.first.get(key, slot.slot))
            return
        assert not isinstance(what, int)
        view.live.update(what.live)  # type: ignore[attr-defined]
        named = max(view.partitions.get(sp.topic, 0), what.partitions)  # type: ignore[attr-defined]
        view.partitions[sp.topic] = named
        view.read.add(sp)
        view.last.setdefault(sp, {})[writer] = what
        self._note_mark(view, sp, what)
        for market in self.rules.markets:
            for topic in self.world.sps_by_topic:
                progress_ms = self.progress(view, market, topic)
                if progress_ms is not None:
                    held = view.best.get((market, topic), progress_ms)
                    view.best[market, topic] = max(progress_ms, held)

    def _note_mark(self, view: View, sp: SourcePartition, new: Any) -> None:
        """Keep the mark of a source partition that knows more."""
        old = view.marks.get(sp)
        worse = old is not None and (
            new.through < old.through
            or (new.through == old.through and (new.caught_up_at or -1) < (old.caught_up_at or -1))
        )
        if not worse:
            view.marks[sp] = new

    def progress(self, view: View, market: str, topic: str, known: int = 0) -> int | None:
        """Event time up to which the topic is known for the market.

        ``known``: how many partitions of it the owner found; marks may say that there are more.
        """
        lowest: list[int] = []
        seen = False
        known = max(known, self.world.config.partitions, view.partitions.get(topic, 0))
        for sp in self.world.sps_by_topic[topic][:known]:
            mark = view.marks.get(sp)
            if mark is None:
                return None
            watermark_ms = mark.watermarks.get(market)
            seen = seen or watermark_ms is not None
            known = [watermark_ms]
            if market in view.live or watermark_ms is None:
                known.append(mark.caught_up_at)
            stated = [at_ms for at_ms in known if at_ms is not None]
            if not stated:
                return None
            lowest.append(max(stated))
        return min(lowest) if seen else None

    def published(self, worker: Level2, publication: Publication) -> None:
        """Check a computed publication: each value equals the batch over what the log holds."""
        assert worker.compiled is not None
        self.publications += 1
        applied = worker.compiled.through
        self._through[id(publication)] = applied
        self._publications.append(publication)  # keeps its id
        market = publication.market
        view = self.view(worker.partition, (worker.reads_number, in_log(applied)))
        self._check_generation(worker, publication)
        self._check_headline(worker, publication)
        as_of = publication.fence_record.as_of
        self._check_as_of(view, publication, worker)
        rows = self._live_rows(view, market)
        horizon_ms = publication.fence_record.horizon
        self._note_horizon(worker, market, horizon_ms)
        self._check_windows(view, publication, as_of, rows, horizon_ms)
        self._check_days(view, publication, rows)
        self._check_base(view, publication)
        self._check_closings(publication, rows)
        if self.final_is_final and worker.compiled.markets[market].revised_after_final:
            raise Violation("P8", f"{market}: a final value was revised")

    def _note_horizon(self, worker: Level2, market: str, horizon_ms: int) -> None:
        known = self._horizons.setdefault(market, [])
        if not known or known[-1][1] < horizon_ms:
            assert worker.compiled is not None
            place = worker.reads_number, in_log(worker.compiled.through)
            known.append(((worker.partition, place), horizon_ms))

    def _check_headline(self, worker: Level2, publication: Publication) -> None:
        """Property P4: no source goes back, and the headline is the least of those that joined.

        A source that has reached the headline has joined: values that are older than the headline
        says would look fresh.
        """
        market, record = publication.market, publication.fence_record
        generation = publication.fence.generation
        for source, at_ms in publication.sources.items():
            reached = generation, at_ms
            floor = worker.sources_floor.get((market, source), reached)
            if reached < floor:
                raise Violation("P4", f"{market} {source}: as_of {at_ms} after {floor} in Redis")
            worker.sources_floor[market, source] = reached
        joined = {topic for topic, at_ms in record.as_of.items() if at_ms >= publication.as_of_ms}
        least = min(record.as_of[topic] for topic in record.joined)
        if publication.as_of_ms != least or joined != set(record.joined):
            raise Violation(
                "P4",
                f"{market}: headline {publication.as_of_ms} of {record.joined} in {record.as_of}",
            )
        worker.as_of_floor[market] = generation, publication.as_of_ms

    def _check_generation(self, worker: Level2, publication: Publication) -> None:
        """Property P4: no owner falls behind what Redis held, but for a reset, which brings it back."""
        market, generation = publication.market, publication.fence.generation
        reached = generation, publication.as_of_ms
        floor = worker.as_of_floor.get(market)
        if floor is not None and reached < floor:
            raise Violation("P4", f"{market}: as_of {reached} after {floor} in Redis")
        declared = self.world.declared.get(market)
        most = max([publication.as_of_ms, *publication.sources.values()])
        honest = self.world.ahead_ms == 0 and not self.world.config.stray_clocks
        if honest and generation == declared and most > self.world.now_ms:
            raise Violation(
                "P4", f"{market}: as_of {most} in generation {generation}, ahead of now"
            )

    @property
    def final_is_final(self) -> bool:
        """Whether final values never change: with LogAppendTime, whatever the workers' clocks say."""
        return not (self.world.config.import_market or self.world.config.resets)

    def _limits(
        self, view: View, publication: Publication, worker: Level2, topic: str
    ) -> tuple[int | None, int | None]:
        """The progress of a topic by the marks that are left, and the largest in the generation."""
        market, generation = publication.market, publication.fence.generation
        known = worker.known.get(topic, 0)
        if generation:
            began = self.world.reset_at[market, generation]
            view = self._view_since(view, worker.partition, began)
        left = replace(view, live=self._live_left(view))
        if self.world.config.resets or self.world.config.topics_change:
            # A writer's last mark may know less than the one before: its partition was halted, or
            # the broker's clock set right. Compaction leaves the last.
            left = View(live=left.live, partitions=view.partitions)
            for sp, marks in view.last.items():
                for mark in marks.values():
                    self._note_mark(left, sp, mark)
        return self.progress(left, market, topic, known), view.best.get((market, topic))

    def _live_left(self, view: View) -> set[str]:
        """Markets that the marks which compaction leaves show live.

        A writer's last mark says what those before it said, unless it landed too late to be believed.
        Then its market is live again by the writer's next mark.
        """
        last = [
            ((sp, writer, mark.sent_at), mark)
            for sp, marks in view.last.items()
            for writer, mark in marks.items()
        ]
        if all(name not in self._too_late_to_say_live for name, _ in last):
            return view.live
        return (view.live & self.known_live).union(*(mark.live for _, mark in last))

    def _check_added(self, view: View, publication: Publication) -> None:
        """Check that no ``as_of`` has passed what a partition may hold that nobody has read.

        Property P4: its first record arrives when it was created, at the earliest.
        """
        if not self.final_is_final:
            return  # records may be stamped with any time
        for sp, created_ms in self.world.created_ms.items():
            at_ms = publication.fence_record.as_of.get(sp.topic)
            if sp not in view.read and at_ms is not None and at_ms > created_ms:
                raise Violation("P4", f"{publication.market}: as_of {at_ms}, {sp} was never read")

    def _check_as_of(self, view: View, publication: Publication, worker: Level2) -> None:
        self._check_added(view, publication)
        market, as_of = publication.market, publication.fence_record.as_of
        pane_ms, trails_ms = self.rules.pane_ms, self.rules.out_of_order_ms
        for topic in self.world.sps_by_topic:
            now, best = self._limits(view, publication, worker, topic)
            found = as_of.get(topic)
            least = None if now is None else (now - trails_ms) // pane_ms * pane_ms
            most = None if best is None else (best - trails_ms) // pane_ms * pane_ms
            if (found is None) != (most is None) and (found is not None or least is not None):
                raise Violation("P4", f"{market} {topic}: as_of {found}, expected {most}")
            if found is not None and not ((least is None or least <= found) and found <= most):  # type: ignore[operator]
                raise Violation("P4", f"{market} {topic}: as_of {found} not in {least}..{most}")

    def _live_rows(self, view: View, market: str) -> list[Counted]:
        """Events of the market that the rows and marks of the log include."""
        found = []
        for sp, reference in self.references.items():
            mark = view.marks.get(sp)
            for event in reference.counted:
                if event.market != market:
                    continue
                slot = SlotKey(market, LIVE, event.pane)
                if event.offset <= view.rows.get((sp, slot), -1):
                    found.append(event)
                elif (
                    mark is not None and event.offset <= mark.through and self._covers(mark, event)
                ):
                    found.append(event)  # its row must have come before the mark
        return found

    def _covers(self, mark: Mark, event: Counted) -> bool:
        """Whether the mark vouches for the event's pane: as_of may have passed it."""
        until_ms = max(mark.watermarks.get(event.market, -1), mark.caught_up_at or -1)
        return event.pane + self.rules.pane_ms + self.rules.out_of_order_ms <= until_ms

    def _sum(self, events: list[Counted], start_ms: int, end_ms: int) -> Counter:
        total: Counter = Counter()
        for event in events:
            if start_ms <= event.occurred_ms < end_ms:
                for name, value in event.live.items():
                    total[name] += value
        return total

    def _check_windows(
        self,
        view: View,
        publication: Publication,
        as_of: dict[str, int],
        events: list[Counted],
        horizon_ms: int,
    ) -> None:
        market = self.rules.markets[publication.market]
        by_field = {value.field: value for value in publication.values}
        checked = 0
        for window, length_ms in WINDOWS.items():
            by_minute = window in ("1h", "24h")
            step_ms = MINUTE_MS if by_minute else self.rules.pane_ms
            kept_ms = MINUTES_KEPT_MS if by_minute else PANES_KEPT_MS
            known: dict[int, dict] = {}
            for topic, of_topic in as_of.items():
                end_ms = of_topic // step_ms * step_ms
                if end_ms not in known:
                    start_ms = max(end_ms - length_ms, horizon_ms - kept_ms)
                    row = self._sum(events, start_ms, end_ms)
                    known[end_ms] = self._values_of(row, market)
                first = view.first.get((market.code, topic))
                covered = 0.0
                if first is not None:
                    first = max(first, horizon_ms - kept_ms)
                    covered = max(0, min(length_ms, end_ms - first)) / length_ms
                text = rfc3339(end_ms)
                for name, (value, observed, n) in known[end_ms].items():
                    if (name.split(":")[0] in PAYMENT_INDICES) != (topic == "payments"):
                        continue
                    checked += 1
                    got = by_field.get(f"{name}:{window}")
                    status = "filling" if covered < 0.5 else "no_data" if value is None else "ok"
                    wanted = (None if covered < 0.5 else value, observed, n, covered, text, status)
                    if got is None or wanted != (
                        got.value,
                        got.observed,
                        got.n,
                        got.covered,
                        got.as_of,
                        got.status,
                    ):
                        raise Violation("P1", f"{market.code} {name}:{window}: {got}, not {wanted}")
        checked += self._check_shoppers(view, market, by_field, as_of, events, horizon_ms)
        others = sorted(name for name in by_field if name.split(":")[0] not in MEASURED)
        if checked != len(others):
            raise Violation("P1", f"{market.code}: {len(others)} values, expected {checked}")

    def _check_shoppers(
        self,
        view: View,
        market: MarketRules,
        by_field: dict[str, object],
        as_of: dict[str, int],
        events: list[Counted],
        horizon_ms: int,
    ) -> int:
        """Check the shoppers of the last hour, by minutes, and of the last 24 hours, by quarters."""
        if "orders" not in as_of:
            return 0
        quarters_ms = 26 * HOUR_MS + self.rules.grace_ms
        checked = 0
        for window, step_ms, kept_ms in (
            ("1h", MINUTE_MS, HOUR_MS),
            ("24h", QUARTER_MS, quarters_ms),
        ):
            length_ms = WINDOWS[window]
            end_ms = as_of["orders"] // step_ms * step_ms
            start_ms = max(end_ms - length_ms, min(horizon_ms - kept_ms, end_ms))
            start_ms = -(-start_ms // step_ms) * step_ms
            first = max(view.first.get((market.code, "orders"), end_ms), start_ms)
            covered = max(0, end_ms - first) / length_ms
            expected = shopper_values(self._sum(events, start_ms, end_ms))
            for name, (value, observed, n, *limits) in expected.items():
                checked += 1
                status = "filling" if covered < 0.5 else "no_data" if value is None else "ok"
                says = (value, *limits) if status == "ok" else (None, None, None)
                wanted = (*says, observed, n, covered, rfc3339(end_ms), status)
                got = by_field.get(f"{name}:{window}")
                if got is None or wanted != (
                    *(got.value, got.lower, got.upper, got.observed, got.n),
                    *(got.covered, got.as_of, got.status),
                ):
                    raise Violation("P1", f"{market.code} {name}:{window}: {got}, not {wanted}")
        return checked

    def _day_of_shoppers(
        self, market: MarketRules, value: Value, events: list[Counted]
    ) -> tuple[object, ...]:
        until_ms = to_ms(value.as_of)
        own = [event for event in events if event.occurred_ms < until_ms]
        day = day_number(value.day or "")
        total: Counter = Counter()
        for event in own:
            if local_day(market.zone, event.occurred_ms) == day:
                total.update(event.live)
        return shopper_values(total)[f"{value.index}:{value.dimension}:{value.member}"]

    def _day_row(self, view: View, market: str, day: int) -> Counter:
        total: Counter = Counter()
        slot = SlotKey(market, DAY, day)
        for sp, reference in self.references.items():
            total.update(reference.row(*slot, view.rows.get((sp, slot), -1)))
        return total

    def _check_days(self, view: View, publication: Publication, events: list[Counted]) -> None:
        market = self.rules.markets[publication.market]
        cache: dict[int, dict] = {}
        limits: dict[tuple[int, str], tuple] = {}
        for value in publication.days:
            day = day_number(value.day or "")
            if value.index in SHOPPER_INDICES:
                self._check_day_of_shoppers(market, value, events)
                continue
            if day not in cache:
                row = self._day_row(view, market.code, day)
                cache[day] = day_values(row, market)
                limits |= {(day, name): each[3:] for name, each in day_orders(row, market).items()}
            name = f"{value.index}:{value.dimension}:{value.member}"
            wanted = cache[day].get(name, (0, 0, 0))
            if value.index == LEVEL:
                _, observed, n = cache[day]["sales_net:market:all"]
                wanted = self._level_of(publication, observed, value.covered), observed, n
                self.levels += value.value is not None
            if (value.value, value.observed, value.n) != wanted:
                raise Violation("P1", f"{market.code} {value.key}: {value}, not {wanted}")
            if value.expected is None and (day, name) in limits:
                found = (value.lower, value.upper)
                if found != limits[day, name]:
                    raise Violation(
                        "P1", f"{market.code} {value.key}: {found}, not {limits[day, name]}"
                    )

    def _check_day_of_shoppers(
        self, market: MarketRules, value: Value, events: list[Counted]
    ) -> None:
        wanted = self._day_of_shoppers(market, value, events)
        got = (value.value, value.observed, value.n, value.lower, value.upper)
        # A day keeps the value that it had when its quarters were dropped. Later events can come for
        # such a day only with CreateTime.
        if got != wanted and self.final_is_final:
            raise Violation("P1", f"{market.code} {value.key}: {value}, not {wanted}")

    def _level_of(self, publication: Publication, net: int, covered: float) -> float | None:
        """Level of a day against the base of the publication that shows it; ``net`` in minor units."""
        level = publication.fence_record.level
        total = 0 if level is None else int(level.net_minor)
        if level is None or covered < 0.5 or total <= 0:
            return None
        return 100 * net * (level.end - level.first) / total

    def _check_base(self, view: View, publication: Publication) -> None:
        """Check that a base that was taken now, or is final, equals the log's sum over its days."""
        level = publication.fence_record.level
        if level is None or not level.sequence:
            return
        if publication.rebased is None and not level.final:
            return
        market = self.rules.markets[publication.market]
        total = 0
        for day in range(level.first, level.end):
            found = day_values(self._day_row(view, market.code, day), market)
            total += found["sales_net:market:all"][1]
        if int(level.net_minor) != total:
            raise Violation("P1", f"{market.code}: base {level}, not {total}")

    def _check_closings(self, publication: Publication, events: list[Counted]) -> None:
        market = self.rules.markets[publication.market]
        for closing in publication.closings:
            if closing.kind != "hour":
                continue  # a day closing is among ``days``
            row = self._sum(events, closing.start_ms, closing.end_ms)
            expected = self._values_of(row, market) | _without_limits(shopper_values(row))
            self._compare_closing(market, closing, expected)
            named = any(value.index == "shoppers" for value in closing.values)
            if self.final_is_final and named != (closing.cause is None):
                raise Violation("P8", f"{market.code}: closing {closing} without shoppers")

    def _values_of(self, row: Counter, market: MarketRules) -> dict[str, Found]:
        """``live_values`` of the row, computed once for empty rows: most rows are of empty hours."""
        if row:
            return live_values(row, market)
        found = self._nothing.get(market.code)
        if found is None:
            found = self._nothing[market.code] = live_values(row, market)
        return found

    def _compare_closing(self, market: object, closing: Closing, expected: dict) -> None:
        for value in closing.values:
            name = f"{value.index}:{value.dimension}:{value.member}"
            wanted = expected.get(name, (0, 0, 0))
            got = (value.value, value.observed, value.n)
            if value.index == LEVEL:  # its base may have been taken since
                wanted = expected.get("sales_net:market:all", (0, 0, 0))
                wanted = (value.value, *wanted[1:])
            if value.status == "filling":
                wanted = (None, *wanted[1:])
            if got != wanted:
                raise Violation(
                    "P8", f"{value.market} {closing.kind} {value.key}: {got} not {wanted}"
                )

    # -- Redis and the journal ---------------------------------------------------------------

    def redis_took(self, worker: Level2, publication: Publication) -> None:
        """Property P3: no older value after a newer one, by the offset really applied, not the fence."""
        generation = publication.fence.generation
        if generation and (publication.market, generation) not in self._resets:
            raise Violation(
                "P4", f"{publication.market}: generation {generation} was not journaled"
            )
        version = (generation, publication.as_of_ms, self._through[id(publication)])
        last = self._redis_last.get(publication.market)
        if last is not None and version < last:
            raise Violation("P3", f"{publication.market}: Redis took {version} after {last}")
        self._redis_last[publication.market] = version

    def journal_number(self, publication: Publication) -> int:
        self._publications.append(publication)
        return len(self._publications) - 1

    def journal_landed(self, _: Log, record: Record) -> None:
        publication = self._publications[int(record.value or b"")]
        if publication.reset is not None:
            self._resets.add((publication.market, publication.reset.generation))
        for closing in publication.closings:
            slot = publication.market, closing.kind, closing.start_ms
            known = self.closings.get(slot)
            if closing.cause is not None and known is not None:
                own = {value.key: value for value in (*known.values, *closing.values)}
                self.closings[slot] = replace(known, values=list(own.values()))
            else:
                self.closings[slot] = closing

    # -- at rest -----------------------------------------------------------------------------

    def compare(self, when: str) -> None:
        """Check that level 1 has folded everything and level 2 equals the batch recomputation."""
        from tests.model.workers import Level1, Level2

        for worker in self.world.owners:
            if isinstance(worker, Level1):
                end = self.world.number(worker.sp, self.world.sources[worker.sp].end) - 1
                if worker.level is None or worker.level.through != end:
                    raise Violation("P2", f"{when}: {self.world.name(worker)} has not folded all")
                self._check_set_aside(worker.sp, end)
            elif isinstance(worker, Level2):
                self._compare_level2(worker, when)

    def _compare_level2(self, worker: Level2, when: str) -> None:
        assert worker.compiled is not None
        for code in worker.compiled.markets.keys() & self.world.redis.fences.keys():
            held, wanted = self.world.redis.fences[code].generation, self.world.generations
            if held != wanted.get(code, 0):
                raise Violation("P4", f"{when}: {code}: Redis holds generation {held} of {wanted}")
        for code, market in worker.compiled.markets.items():
            ledger = market.ledger
            horizon_ms = ledger.horizon_ms
            first_day = local_day(self.rules.markets[code].zone, max(horizon_ms, 0)) - DAYS_KEPT
            hours: dict[int, Counter] = {}
            minutes: dict[int, Counter] = {}
            days: dict[int, Counter] = {}
            for reference in self.references.values():
                for event in reference.counted:
                    if event.market != code:
                        continue
                    hour = event.pane // HOUR_MS * HOUR_MS
                    minute = event.pane // MINUTE_MS * MINUTE_MS
                    if hour >= horizon_ms - HOURS_KEPT_MS:
                        hours.setdefault(hour, Counter()).update(event.live)
                    if minute >= horizon_ms - MINUTES_KEPT_MS:
                        minutes.setdefault(minute, Counter()).update(event.live)
                # By slot: a correction that waited for its order counts with the order's event.
                for market_code, book, day in reference.slots():
                    if (market_code, book) == (code, DAY) and day >= first_day:
                        days.setdefault(day, Counter()).update(reference.row(code, DAY, day, 2**60))
            self._compare_labels(code, ledger, when, days)
            for kind, expected, read, book in (
                ("hour", hours, ledger.hour_sum, LIVE),
                ("minute", minutes, ledger.minute_sum, LIVE),
                ("day", days, ledger.day_sum, DAY),
            ):
                for start, counts in expected.items():
                    row = read(start)
                    got = {} if row is None else self._named(code, book, row)
                    wanted = without_zeros(counts)
                    wanted.pop(("shoppers",), None)
                    if got != wanted:
                        raise Violation(
                            "P2", f"{when}: {code} {kind} {start}: {got}, expected {wanted}"
                        )

    def _compare_labels(self, code: str, ledger: Ledger, when: str, days: Iterable[int]) -> None:
        """Check that level 2 has kept what was said, and that a new owner reads it."""
        minutes: dict[int, Counter] = {}
        hours: dict[int, Counter] = {}
        said_days: dict[int, Counter] = {}
        for reference in self.references.values():
            for event in reference.counted:
                if event.market != code:
                    continue
                hour, minute = (event.pane // each * each for each in (HOUR_MS, MINUTE_MS))
                if hour >= ledger.horizon_ms - HOURS_KEPT_MS:
                    hours.setdefault(hour, Counter()).update(event.live_said)
                if minute >= ledger.horizon_ms - MINUTES_KEPT_MS:
                    minutes.setdefault(minute, Counter()).update(event.live_said)
            for day in days:
                said = reference.said(code, DAY, day, 2**60)
                said_days.setdefault(day, Counter()).update(said)
        market, methodology = self.world.methodology.markets[code], self.world.methodology
        for found in (
            *labels.differing(ledger, minutes, hours, said_days),
            *labels.read_anew(ledger, market, methodology),
        ):
            raise Violation("P9", f"{when}: {code}: {found}")

    def compare_closings(self) -> None:
        """Property P8: every hour and day with events was closed, with the values of the whole log."""
        for code, market in self.rules.markets.items():
            events = [
                event
                for reference in self.references.values()
                for event in reference.counted
                if event.market == code
            ]
            limit_ms = self.world.now_ms - 5 * DAY_MS
            hours = {event.pane // HOUR_MS * HOUR_MS for event in events}
            days = {
                event.day
                for reference in self.references.values()
                for event in (*reference.counted, *reference.day_only)
                if event.market == code and event.day_book is not None
            }
            for hour in sorted(hour for hour in hours if hour < limit_ms):
                closing = self.closings.get((code, "hour", hour))
                panes = [
                    SlotKey(code, LIVE, pane)
                    for pane in {event.pane for event in events}
                    if hour <= pane < hour + HOUR_MS
                ]
                if closing is None and self._may_stay_open(code, panes):
                    continue
                if closing is None:
                    raise Violation("P8", f"{code}: hour {rfc3339(hour)} was never closed")
                if self.final_is_final:
                    row = self._sum(events, hour, hour + HOUR_MS)
                    expected = live_values(row, market) | _without_limits(shopper_values(row))
                    self._compare_closing(market, closing, expected)
            closed_days = {
                day_number(closing.values[0].day or ""): closing
                for (of, kind, _), closing in self.closings.items()
                if kind == "day" and of == code and closing.values
            }
            for day in sorted(day for day in days if day_end_ms(market.zone, day) < limit_ms):
                closing = closed_days.get(day)
                if closing is None and self._may_stay_open(code, [SlotKey(code, DAY, day)]):
                    continue
                if closing is None:
                    raise Violation("P8", f"{code}: day {day} was never closed")
                if self.final_is_final:
                    row = Counter()
                    for reference in self.references.values():
                        row.update(reference.row(code, DAY, day, 2**60))
                    expected = day_values(row, market)
                    bought: Counter = Counter()
                    for event in events:
                        if local_day(market.zone, event.occurred_ms) == day:
                            bought.update(event.live)
                    expected |= _without_limits(shopper_values(bought))
                    self._compare_closing(market, closing, expected)
                    named = any(value.index == "shoppers" for value in closing.values)
                    if named != bool(bought["shopper_orders",] or bought["new_known",]):
                        raise Violation("P8", f"{code}: day {day}: shoppers named: {named}")

    def _may_stay_open(self, market: str, slots: Collection[SlotKey]) -> bool:
        """Whether rows may come for slots that level 2 has dropped, or closed ahead of time.

        One partition of an imported market is at today while another still imports events of years
        ago. And what fills partials that were created anew is no news to what a live market closed
        (docs/guarantees.md, "A reset of what level 1 has closed"); all that came for it lies there.
        """
        if self.world.config.import_goes_live and market == IMPORT_MARKET:
            return True
        if self.world.config.topics_change and all(map(self._came_expired, slots)):
            return True
        return any(
            all(slot.slot < until[slot.book] and self._all_came_by(fill, slot) for slot in slots)
            for fill, until in self._fills.get(market, ())
        )

    def _came_expired(self, slot: SlotKey) -> bool:
        """Whether the first row of a slot came when level 2 kept rows that old no more.

        An input that was created again may bring what is older than all that was closed.
        """
        if slot.book != LIVE:
            return False
        for (partition, place), horizon_ms in self._horizons.get(slot.market, ()):
            if slot.slot < horizon_ms - HOURS_KEPT_MS:
                came = self.view(partition, place).rows
                return not any(known == slot for _, known in came)
        return False

    def _all_came_by(self, fill: tuple[int, Place], slot: SlotKey) -> bool:
        """Whether all that there is of a slot lay in the partials when they had been filled."""
        rows = self.view(*fill).rows
        return all(
            reference.row(*slot, rows.get((sp, slot), -1)) == reference.row(*slot, 2**60)
            for sp, reference in self.references.items()
        )

    def check_bounded(self) -> None:
        """Property P5: the checkpoint table holds little more than one chain."""
        for sp, log in self.world.checkpoints.items():
            limit = self.world.config.chain_length * 4 + 2 + self.foreign_allowance
            if self.world.config.small_records:
                limit *= 6  # records a flush
            if len(log.table()) > limit:
                raise Violation("P5", f"{sp}: {len(log.table())} records, at most {limit}")

    @property
    def foreign_allowance(self) -> int:
        """Number of zombies' records that may have landed after the new owner's recovery."""
        return 12


def _market_of(value: bytes | None) -> str | None:
    try:
        return msgspec.json.decode(value or b"", type=dict).get("market")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _without_limits(found: dict[str, tuple]) -> dict[str, Found]:
    return {name: each[:3] for name, each in found.items()}
