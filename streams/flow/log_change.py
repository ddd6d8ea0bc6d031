"""Changes of an input's log that a state cannot go on over by itself, and where it goes on afterwards.

Each halts the source partitions that it is about. Its ``name`` says what the operator accepts, with the
offsets or the id, so that nobody accepts one change and gets another.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import base_of, begin_of_next_log, in_log


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
    if at > end:
        return LogChange(
            sp.topic,
            "cut",
            f"{sp.partition}:end={end}",
            f"{sp}: the state continues at offset {at}, the log ends at {end}: it lost records that "
            "were counted (a replica that was behind became leader). Accepted, they stay counted, and "
            "what is sent again may count twice",
            begin_of_next_log(next_offset) + end,
            topic_id,
        )
    return None


def lost_checkpoints(sp: SourcePartition, begin: int, topic_id: str) -> LogChange:
    """Return that a partition which was counted has no checkpoint, and its log no beginning."""
    return LogChange(
        sp.topic,
        "lost",
        f"{sp.partition}:checkpoints-before={begin}",
        f"{sp}: records were counted and no checkpoint of them is left (its changelog was deleted); the "
        f"log begins at offset {begin}, so they cannot all be counted again. Accepted, it is counted "
        "from there, and days that are open may be lower than they were",
        begin,
        topic_id,
    )
