"""Changes of an input's log that a state cannot go on over by itself, and where it goes on afterwards.

Each halts the source partitions that it is about. Its ``name`` says what the operator accepts, with the
offsets or the id, so that nobody accepts one change and gets another.

A log goes on while a partition is halted: retention takes more of it, and records are appended. The next
owner then finds other offsets, and the command that an earlier owner named must not become void.
So a gap or a cut is accepted by where the state stands, and by an end that the log had since. Where no
state is left, how far the group has committed stands in its place: nothing is while it is halted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import base_of, begin_of_next_log, in_log
from streams.index.history_records import AcceptedChange

_MOVED = re.compile(r"(?P<stands>\d{1,9}:\d{1,19})\.\.(?P<kind>end=)?(?P<end>\d{1,19})")


@dataclass(frozen=True, slots=True)
class LogChange:
    """One change. ``resume_at``: the next offset once it is accepted; ``topic_id``: of which topic."""

    topic: str
    kind: str
    name: str
    detail: str
    resume_at: int
    topic_id: str

    @property
    def command(self) -> str:
        """What accepts it."""
        return f"ecindex topics accept {self.topic} {self.name}"

    def as_accepted(self, accepted: Mapping[tuple[str, str], AcceptedChange]) -> LogChange | None:
        """Return the change as the operator accepted it; None: not yet. ``accepted``: see `HistoryBook`.

        A gap may have grown since: the state goes on behind all of it. A log that was cut may have got
        records since: the state goes on at the end that was accepted, so that these are counted.
        """
        moved = _MOVED.fullmatch(self.name)
        if moved is None:
            found = accepted.get((self.topic, self.name))
            return self if found is not None and self._is_of(found) else None
        ends = [
            int(named["end"])
            for (topic, name), found in accepted.items()
            if topic == self.topic
            and self._is_of(found)
            and (named := _MOVED.fullmatch(name)) is not None
            and named.group("stands", "kind") == moved.group("stands", "kind")
            and int(named["end"]) <= int(moved["end"])
        ]
        if not ends or moved["kind"] is None:
            return self if ends else None
        earlier = int(moved["end"]) - min(ends)
        return replace(self, resume_at=self.resume_at - earlier)

    def _is_of(self, accepted: AcceptedChange) -> bool:
        """Whether the acceptance is not of another topic of this name."""
        return not (accepted.topic_id and self.topic_id) or accepted.topic_id == self.topic_id


def recreated(sp: SourcePartition, next_offset: int, old_id: str, new_id: str) -> LogChange:
    """Return the change of a topic that was deleted and created again."""
    return LogChange(
        sp.topic,
        "recreated",
        f"id={new_id}",
        f"topic {sp.topic} was deleted and created again: the state is of id {old_id}, up to offset "
        f"{in_log(next_offset) - 1}; the topic that is there has id {new_id}. Accepted, its records "
        "are counted from the first one on, on top of what was counted",
        begin_of_next_log(next_offset),
        new_id,
    )


def recreated_around(sp: SourcePartition, old_id: str, new_id: str) -> LogChange:
    """Return the change of a topic that was created again, for a partition of which no state is.

    It begins at its first offset, whenever it is accepted: an owner that finds no checkpoint numbers the
    records from 0, and cannot know whether another owner went on before it.
    """
    return LogChange(
        sp.topic,
        "recreated",
        f"id={new_id}",
        f"topic {sp.topic} was deleted and created again: other partitions have states of id {old_id}, "
        f"the topic that is there has id {new_id}, and nothing was counted of {sp} yet. Accepted, its "
        "records are counted from the first one on, on top of what was counted",
        0,
        new_id,
    )


def log_moved(
    sp: SourcePartition, next_offset: int, begin: int, end: int, topic_id: str
) -> LogChange | None:
    """Return what is wrong with a log that holds offsets ``begin`` to ``end``; None when nothing is.

    ``begin`` and ``end`` are offsets of the log itself.
    """
    at = in_log(next_offset)
    if at < begin:
        return LogChange(
            sp.topic,
            "gap",
            f"{sp.partition}:{at}..{begin - 1}",
            f"{sp}: the state continues at offset {at}, the log holds {begin} to {end}: offsets {at} to "
            f"{begin - 1} are gone before they were read (retention, or deleted records). Accepted, "
            "they are counted nowhere",
            base_of(next_offset) + begin,
            topic_id,
        )
    return cut_short(sp, next_offset, end, topic_id) if at > end else None


def cut_short(sp: SourcePartition, next_offset: int, end: int, topic_id: str) -> LogChange:
    """Return the change of a log that ends before the state does."""
    return LogChange(
        sp.topic,
        "cut",
        # With the number of the log: the state may stand at this offset again, after another cut.
        f"{sp.partition}:{next_offset}..end={end}",
        f"{sp}: the state continues at offset {in_log(next_offset)}, the log ends at {end}: it lost "
        "records that were counted (a replica that was behind became leader). Accepted, they stay "
        "counted, and what is sent again may count twice",
        begin_of_next_log(next_offset) + end,
        topic_id,
    )


def lost_checkpoints(sp: SourcePartition, counted: int, begin: int, topic_id: str) -> LogChange:
    """Return that a partition which was counted has no checkpoint, and its log no beginning.

    ``counted``: the next offset that the group has committed; 0: none.
    """
    return LogChange(
        sp.topic,
        "lost",
        f"{sp.partition}:checkpoints-before={counted}",
        f"{sp}: records before offset {counted} were counted and no checkpoint of them is left (its "
        f"changelog was deleted); the log begins at offset {begin}, so they cannot all be counted "
        "again. Accepted, it is counted from where it begins by then, and days that are open may be "
        "lower than they were",
        begin,
        topic_id,
    )
