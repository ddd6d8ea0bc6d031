"""What a worker of the model knows of the topics: the product's keeper, and a broker that answers."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from streams.flow.chain import decode_checkpoint, newest_of
from streams.flow.topic_progress import asked_within_ms
from streams.settings import Settings
from streams.worker.intake import Intake
from streams.worker.topic_keeper import TopicKeeper
from streams.worker.topic_needs import TopicNeeds
from streams.worker.topic_watch import TopicWatch

if TYPE_CHECKING:
    from tests.model.workers import Level1, Worker

SETTINGS = Settings()
TOPICS = SETTINGS.topics
PARTIALS = TOPICS.partials


@dataclass
class Topic:
    """A topic as the broker has it. ``number``: how often one of this name was created."""

    name: str
    partitions: int
    number: int = 1

    @property
    def topic_id(self) -> str:
        return str(self._uuid)

    @property
    def _uuid(self) -> UUID:
        return UUID(int=self.number)

    def answer(self) -> tuple[Any, ...]:
        """The topic in an answer to a metadata request."""
        return 0, self.name, self._uuid.bytes, False, [None] * self.partitions


class _Nothing:
    """Metrics and logs that nobody reads."""

    def __getattr__(self, _name: str) -> _Nothing:
        return self

    def __call__(self, *_args: object, **_more: object) -> _Nothing:
        return self


NOTHING: Any = _Nothing()


def now(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


async def _grow(_wanted: Mapping[str, int]) -> Mapping[str, int]:
    return {}


class Keeping:
    """The keeper of one worker, and what it reads by."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        world = worker.world
        self.intake = Intake((*world.sps_by_topic, PARTIALS))
        self.watch = TopicWatch(self._ask, world.topics, clock=worker.log_clock.steady)
        self.sources: dict[Any, Level1] = {}
        edition = world.methodology.edition
        self.needs = TopicNeeds(SETTINGS, edition, self.watch, NOTHING, _grow)
        self.keeper = TopicKeeper(
            SETTINGS,
            self.watch,
            self.needs,
            self.intake,
            sources=self.sources,  # type: ignore[arg-type]
            accepted=world.accepted,
            group=self,
            stated=self._stated,
        )
        self._fresh_ms = asked_within_ms(world.methodology.out_of_order_ms)

    async def _ask(self, _request: object) -> object:
        return SimpleNamespace(
            topics=[topic.answer() for topic in self._worker.world.topics.values()]
        )

    async def _stated(self, changelog: str, owned: Collection[int]) -> set[str]:
        world, topic = self._worker.world, self.needs.changelogs[changelog]
        found = []
        for sp in world.sps_by_topic[topic]:
            if sp.partition not in owned:
                table = world.checkpoints[sp].table()
                # The switch "ids apart" writes two records a flush.
                held = (v for k, v in table.items() if not k.endswith(b"-ids"))
                found.append(newest_of(map(decode_checkpoint, held)))
        return {each.topic_id for each in found if each is not None}

    def ask_anew(self, *, rejoin: bool) -> None:
        """Have the group recover every state anew, unless the worker is in the group no more."""
        world = self._worker.world
        # With metadata that names more partitions than are assigned, aiokafka joins anew by itself.
        anew = rejoin or len(world.sps) > world.sources_assigned
        if anew and self._worker in world.owners:
            world.rejoining = True

    def refresh(self) -> None:
        now(self.keeper.refresh())
        self.ask_anew(rejoin=False)  # aiokafka asks too, whether the keeper sees a change or not

    def judge(self, worker: Level1) -> None:
        self.keeper.judge(worker)  # type: ignore[arg-type]
        now(self.keeper.judge_new())

    def check(self) -> None:
        now(self.keeper.check())

    def fresh(self) -> bool:
        return self.watch.fresh(self._fresh_ms)

    @property
    def outdated(self) -> bool:
        """Whether it will be told that a topic is not what it was."""
        return any(
            (topic.topic_id, topic.partitions) != self.watch.known.get(name, ())[:2]
            for name, topic in self._worker.world.topics.items()
        )

    def reads(self, topic: str) -> str:
        """Id of the topic that is read."""
        return self.keeper.topic_id(topic)

    def hear_nothing_more(self) -> None:
        """End the recovery and freeze what the operator has accepted: the worker is a zombie.

        Decision 0114 gives up what two owners send that go on in one log over different ends of the
        old one. One that has read no checkpoint yet goes on in any log, and asks nobody.
        """
        while self._worker.lanes[0].name == "start":
            self._worker.step(lands=False)
        self.keeper._accepted = dict(self.keeper._accepted)
