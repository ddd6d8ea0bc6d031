"""What a worker does when a topic is not what it was (exactness rule 9).

An input's log that cannot be continued halts its partitions, and only those, until the operator
accepts the change by name. More partitions are taken in. What a topic lacks, and the command that mends
it: topic_needs.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiokafka.errors import KafkaError

from streams.flow.chunk import SourcePartition
from streams.flow.log_change import (
    LogChange,
    log_moved,
    lost_checkpoints,
    recreated,
    recreated_around,
)
from streams.index.history_records import AcceptedChange
from streams.settings import Settings
from streams.worker.contiguity import offset_after
from streams.worker.intake import Intake
from streams.worker.level1 import SourceRunner
from streams.worker.stops import ExitCode, Fatal
from streams.worker.topic_ids import UNKNOWN, TopicIdentity
from streams.worker.topic_needs import TopicNeeds
from streams.worker.topic_watch import TopicEvent, TopicWatch

DURABLE_WITHIN_CHECKS = 5
"""Checks, one a second, after which the group is asked anew though states of a log that is gone are
not durable: a broker that takes no checkpoints must not hold back all that there is."""

_log = structlog.get_logger(__name__)


class Group(Protocol):
    """What the keeper asks of the group membership."""

    def ask_anew(self, *, rejoin: bool) -> None:
        """Ask for metadata at once; with ``rejoin`` recover every state anew."""
        ...


class TopicKeeper:
    """Compares topics with the states that are of them.

    ``sources``: the runners owned now. ``accepted``: what the operator accepted, by (topic, change).
    ``stated``: the ids of the topics that the checkpoints are of which lie in other partitions of a
    changelog than these.
    """

    def __init__(
        self,
        settings: Settings,
        watch: TopicWatch,
        needs: TopicNeeds,
        intake: Intake,
        *,
        sources: Mapping[SourcePartition, SourceRunner],
        accepted: Mapping[tuple[str, str], AcceptedChange],
        group: Group,
        stated: Callable[[str, Collection[int]], Awaitable[Collection[str]]],
    ) -> None:
        self._values = settings.topics.values
        self._read = {settings.topics.partials, needs.merged, *needs.changelogs}
        self._watch = watch
        self._needs = needs
        self._intake = intake
        self._sources = sources
        self._accepted = accepted
        self._group = group
        self._stated = stated
        self._events: list[TopicEvent] = []
        """What changed and was not acted on yet."""
        self._heard: set[str] = set()
        """Inputs that changed and were not looked at yet, as they are now."""
        self._asking: dict[str, _Asking] = {}
        """By input: what the group is asked once all that was folded of its old log is durable."""

    # -- at a recovery ---------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Ask for the topics as they are now; what is read from here on is read by these ids."""
        try:
            # Two answers: a change is believed when the second says so too.
            first = not self._watch.known
            found = [*await self._watch.ask(), *await self._watch.ask()]
        except KafkaError as error:
            raise Fatal(ExitCode.NO_BROKER, f"cannot ask for the topics: {error!r}") from error
        if first:
            for topic in self._watch.known:
                self._needs.say_short(topic)
        else:
            self._events += found
        for asking in self._asking.values():
            asking.rejoin = False  # every state is recovered anew just now
        for topic in self._intake.chunk_topics:
            known = self._watch.known.get(topic)
            if known is not None and known.topic_id != UNKNOWN:
                self._intake.topic_ids[topic] = known.topic_id

    def partitions(self, topic: str, before: int) -> int:
        """Return a topic's partition count; ``before`` where it is not known."""
        found = self._watch.known.get(topic)
        return before if found is None else found.partitions

    def topic_id(self, topic: str) -> str:
        """Return the id by which a topic is read."""
        return self._intake.topic_ids.get(topic, UNKNOWN)

    def judge(self, runner: SourceRunner) -> None:
        """Halt a recovered source partition whose state is of another topic than there is."""
        old, new = runner.level.topic_id, self.topic_id(runner.sp.topic)
        if runner.level.chain.incomplete:
            self._intake.lost.add(runner.sp)
            _log.warning(
                "checkpoints_lost",
                topic=runner.sp.topic,
                partition=runner.sp.partition,
                detail="no complete chain is left of them; the log is counted from its beginning",
            )
        if changed(old, new):
            self._halt(runner, recreated(runner.sp, offset_after(runner.level.through), old, new))

    async def judge_new(self) -> None:
        """Halt partitions without a state where another partition's is of another topic than there is.

        A topic that was created again may have more partitions than it had. Nothing of it is counted
        before the operator accepts it, in whichever partition it lies. Raises Fatal.
        """
        for topic in self._needs.inputs:
            new, owned = self.topic_id(topic), list(self._of(topic))
            begun = [runner for runner in owned if runner.level.through < 0]
            if not (begun and new):
                continue
            ids = {runner.level.topic_id for runner in owned if runner.level.through >= 0}
            ids |= await self._of_others(topic, {runner.sp.partition for runner in owned})
            for old in sorted(ids - {new, UNKNOWN})[:1]:
                for runner in begun:
                    self._halt(runner, recreated_around(runner.sp, old, new))

    async def _of_others(self, topic: str, owned: Collection[int]) -> set[str]:
        """Return the ids of the topics that the states of other workers' partitions are of."""
        changelog = next(log for log, of in self._needs.changelogs.items() if of == topic)
        try:
            return set(await self._stated(changelog, owned))
        except KafkaError as error:
            reason = f"cannot read the checkpoints of topic {topic}: {error!r}"
            raise Fatal(ExitCode.NO_BROKER, reason) from error

    def on_log_moved(self, sp: SourcePartition, begin: int, end: int) -> None:
        """Halt a source partition whose log holds [begin, end) and not its next offset."""
        runner = self._sources.get(sp)
        if runner is None or runner.change is not None:
            return
        through = runner.level.through
        topic_id = runner.level.topic_id
        change = (
            lost_checkpoints(sp, self._intake.counted.get(sp, 0), begin, topic_id)
            if through < 0
            else log_moved(sp, offset_after(through), begin, end, topic_id)
        )
        if change is not None:
            self._halt(runner, change)

    def _halt(self, runner: SourceRunner, change: LogChange) -> None:
        runner.halt_for(change)
        self._accept(runner)

    def _accept(self, runner: SourceRunner) -> None:
        """Let a halted partition go on if the operator has accepted its change, and all is durable.

        The next owner goes on from what is durable. What is not would be in the rows of one of them
        only, and each would number the records of the new log by its own state.
        """
        change = runner.change and runner.change.as_accepted(self._accepted)
        if change is None:
            return
        if not runner.durable:
            return  # it is flushed within a second, and asked again
        if change.topic_id != UNKNOWN:
            self._intake.topic_ids[change.topic] = change.topic_id
        runner.accept(change)

    # -- each second -----------------------------------------------------------------------------

    async def check(self) -> None:
        """Ask again, act on what changed, and let go on what the operator has accepted."""
        self._events += await self._watch.ask_again()
        events, self._events = self._events, []
        for event in events:
            self._on_event(event)
        for topic in self._needs.inputs:
            self._compare(topic)
        for runner in list(self._sources.values()):
            self._accept(runner)
        for topic, asking in list(self._asking.items()):
            asking.checks_left -= 1
            self._ask_if_durable(topic)
        await self._needs.check()

    def _on_event(self, event: TopicEvent) -> None:
        topic, old, new = event
        if new is None:
            _log.error("topic_missing", topic=topic, action=self._needs.advice(topic))
            for runner in self._of(topic):
                runner.halt("missing", self._needs.advice(topic), releasable=False)
            if topic in self._intake.chunk_topics:
                self._ask_for(topic, rejoin=False)
            return
        if not self._needs.say_short(topic):
            self._needs.say_short(self._needs.changelogs.get(topic, topic))
        if topic in self._needs.inputs:
            self._heard.add(topic)
        elif old is None or old.topic_id != new.topic_id:
            self._on_anew(topic, new.topic_id)
        elif old.partitions != new.partitions and topic in self._read:
            self._group.ask_anew(rejoin=False)

    def _on_anew(self, topic: str, topic_id: str) -> None:
        """Act on a topic of our own that was created again."""
        _log.warning("topic_recreated", topic=topic, topic_id=topic_id)
        # Every state is rebuilt from what the topics hold now. A new owner of a market writes each of
        # its values that may still change, which the topic of values holds no more. A recovery may
        # have asked for the partials meanwhile; but its group may have been formed while there were
        # none, and then nobody has their partitions until metadata are asked for.
        read = topic in self._read or topic == self._values
        recovered = self._intake.topic_ids.get(topic) == topic_id
        self._group.ask_anew(rejoin=read and not recovered)

    def _compare(self, topic: str) -> None:
        """Act on an input that is not what the states owned now are of, or that was heard to change.

        That it changed is heard once. When it was heard during a rebalance, which had asked for the
        topics before, nothing was owned that it could halt: the partition stood and named no reason.
        """
        known = self._watch.known.get(topic)
        heard = topic in self._heard
        self._heard.discard(topic)
        if known is not None and (
            heard
            or any(
                runner.change is None and changed(runner.level.topic_id, known.topic_id)
                for runner in self._of(topic)
            )
        ):
            self._on_input(topic, known)

    def _on_input(self, topic: str, found: TopicIdentity) -> None:
        rejoin = False
        for runner in self._of(topic):
            of, at = runner.level.topic_id, offset_after(runner.level.through)
            if changed(of, found.topic_id) and at == 0:
                # Nothing of the old log is in the state, so there is nothing to accept. Its next owner
                # could not know of an acceptance either: it finds no checkpoint, and counts from 0.
                rejoin = True
            elif changed(of, found.topic_id):
                self._halt(runner, recreated(runner.sp, at, of, found.topic_id))
            elif runner.halted is not None and runner.halted.startswith("missing"):
                runner.release()
            runner.level.grow(found.partitions)
        self._ask_for(topic, rejoin=rejoin)

    def _ask_for(self, topic: str, *, rejoin: bool) -> None:
        """Ask the group anew once all that was folded of a topic's old log is durable.

        A state that is recovered before lacks what was folded since its last checkpoint, and no log
        holds that any more. aiokafka may join anew by itself when it gets new metadata.
        """
        asking = self._asking.setdefault(topic, _Asking())
        asking.rejoin = asking.rejoin or rejoin
        self._ask_if_durable(topic)

    def _ask_if_durable(self, topic: str) -> None:
        asking, found = self._asking[topic], self._watch.known.get(topic)
        gone = (
            runner
            for runner in self._of(topic)
            if found is None or changed(runner.level.topic_id, found.topic_id)
        )
        if asking.checks_left > 0 and not all(runner.durable for runner in gone):
            return  # they are flushed within a second
        del self._asking[topic]
        self._group.ask_anew(rejoin=asking.rejoin)

    def _of(self, topic: str) -> Iterable[SourceRunner]:
        return [runner for sp, runner in self._sources.items() if sp.topic == topic]


@dataclass(slots=True)
class _Asking:
    """What the group is asked about an input; ``checks_left``: how long that may still wait."""

    rejoin: bool = False
    checks_left: int = DURABLE_WITHIN_CHECKS


def changed(old: str, new: str) -> bool:
    """Whether two ids are known and are those of different topics."""
    return UNKNOWN not in (old, new) and old != new
