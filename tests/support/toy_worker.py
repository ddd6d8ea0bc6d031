"""A minimal worker that counts and sums the integers of each partition.

Integration tests run it as a child process. Its state is one cumulative record per flush in the
table's changelog, keyed by `through`. The largest `through` wins, whichever worker wrote it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.clock import monotonic_ms
from streams.settings.model import KafkaSettings
from streams.worker.consumer_thread import ChunkConsumerThread, FetchSettings
from streams.worker.faust_app import AppSettings, Hooks, create_faust_app
from streams.worker.outbox import Outbox, OutboxSettings, OutboxStopped
from streams.worker.runner import Worker, run
from streams.worker.stops import StopSwitch
from streams.worker.watchdog import WatchdogSettings

if TYPE_CHECKING:
    from streams.flow.chunk import Chunk, SourcePartition

TABLE = "toy"


@dataclass
class Sum:
    """The state of one source partition."""

    through: int = -1
    n: int = 0
    total: int = 0
    written: int = -1
    oldest: int = -1

    def record(self) -> bytes:
        return json.dumps({"through": self.through, "n": self.n, "sum": self.total}).encode()


class Toy:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.states: dict[SourcePartition, Sum] = {}
        self.largest_queue = 0
        self.plain = 0

    def create(self) -> Worker:
        args = self.args
        switch = StopSwitch()
        kafka = KafkaSettings()
        self.app = create_faust_app(
            AppSettings(
                app_id=args.app_id,
                bootstrap=args.bootstrap,
                datadir=Path(args.dir),
                session_timeout_ms=args.session_ms,
                heartbeat_ms=args.session_ms // 4,
                request_timeout_ms=args.request_timeout_ms,
                fetch=FetchSettings(
                    kafka.fetch_min_bytes,
                    kafka.fetch_max_wait_ms,
                    kafka.fetch_max_bytes,
                    chunk_records=args.chunk_records,
                ),
                watchdog=WatchdogSettings(no_progress_ms=args.no_progress_ms, deaf_ms=args.deaf_ms),
            ),
            chunk_topics=frozenset({args.topic}),
            positions=self,
            hooks=Hooks(self.on_revoked, self.on_recovered, self.on_assigned),
            switch=switch,
        )
        if args.deaf:
            ChunkConsumerThread._fetch_records = nothing
        self.table = self.app.partition_table(TABLE, source=args.topic, partitions=args.partitions)
        self.agent = self.app.chunk_agent(args.topic, self.fold, name="toy-fold")
        if args.plain_topic:
            plain = self.app.topic(args.plain_topic, value_serializer="raw")
            self.app.agent(plain, name="toy-plain")(self.count)
        self.outbox = Outbox(
            args.bootstrap,
            switch=switch,
            presence=self.app.presence,
            settings=OutboxSettings(ack_limit_ms=args.ack_limit_ms),
        )
        return Worker(self.app, self.outbox, self.flush_all, self.on_started)

    async def on_started(self) -> None:
        self.background = asyncio.create_task(self.flush_often())

    def next_offset(self, sp: SourcePartition) -> int | None:
        through = self.states[sp].through
        return None if through < 0 else through + 1

    def base(self, _sp: SourcePartition) -> int:
        return 0

    def on_assigned(self, sps: frozenset[SourcePartition]) -> None:
        self.say("assigned", sorted(map(str, sps)))
        time.sleep(self.args.hold_assigned_s)

    def on_revoked(self, sps: frozenset[SourcePartition]) -> None:
        self.states.clear()

    async def on_recovered(self, sps: frozenset[SourcePartition]) -> None:
        for sp in sps:
            state = Sum()
            for value in self.table.recovered(sp.partition).values():
                found = json.loads(value)
                if found["through"] > state.through:
                    state = Sum(found["through"], found["n"], found["sum"], found["through"])
            self.states[sp] = state
        self.say("recovered", {str(sp): self.states[sp].through for sp in sps})

    async def fold(self, chunk: Chunk) -> None:
        if self.args.stuck:
            await asyncio.to_thread(lambda: None)
            self.say("stuck", {})
            while True:  # a fold that never returns; the loop never runs again
                sum(range(1000))
        if self.args.slow_ms:
            self.largest_queue = max(self.largest_queue, self.queue_size())
            await asyncio.sleep(self.args.slow_ms / 1000)
        await self.outbox.room()
        part = self.app.intake.accept(chunk)
        if part is None:
            return
        state = self.states[part.sp]
        if self.args.crash_at and b"%d" % self.args.crash_at in part.values:
            raise ValueError(f"planted at {self.args.crash_at}")
        state.n += len(part)
        state.total += sum(int(value or 0) for value in part.values)
        state.through = part.last_offset
        self.app.intake.advance(part.sp, part.last_offset)
        if self.args.flush_each:
            self.flush(part.sp)

    async def count(self, stream: Any) -> None:
        async for _ in stream:
            self.plain += 1

    def queue_size(self) -> int:
        return sum(
            topic.queue.qsize() for topic in self.app.topics if self.args.topic in topic.topics
        )

    def flush(self, sp: SourcePartition) -> None:
        state = self.states[sp]
        if state.through == state.written:
            return
        topic, before, through = self.table.changelog_topic_name, state.written, state.through
        state.written = through
        acked = self.outbox.put(topic, sp.partition, b"%d" % through, state.record())

        def on_acked(future: asyncio.Future[int]) -> None:
            if future.cancelled() or future.exception() or self.states.get(sp) is not state:
                return
            self.app.intake.mark_done(sp, through)
            if before >= 0:
                try:
                    self.outbox.put(topic, sp.partition, b"%d" % before, None)
                except OutboxStopped:
                    return

        acked.add_done_callback(on_acked)

    async def flush_all(self) -> None:
        for sp in list(self.states):
            if self.app.intake.is_open(sp) or self.states[sp].through >= 0:
                self.flush(sp)

    async def flush_often(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            intake = self.app.intake
            self.pause_or_resume()
            try:
                await self.flush_all()
            except OutboxStopped as error:
                self.say("stopped", {"why": str(error)})
                return
            self.say(
                "status",
                {
                    str(sp): {
                        "position": intake.position(sp),
                        "log_end": intake.log_end(sp),
                        "stable_end": intake.stable_end(sp),
                        "caught_up_at": intake.caught_up_at(sp),
                        "n": self.states[sp].n if sp in self.states else None,
                    }
                    for sp in intake.owned
                }
                | {
                    "unacked": self.outbox.oldest_unacked_age_ms(),
                    "queue": self.largest_queue,
                    "plain": self.plain,
                },
            )

    def pause_or_resume(self) -> None:
        wanted = (Path(self.args.dir) / "pause").exists()
        for sp in self.app.intake.owned:
            if wanted and not self.app.intake.is_paused(sp):
                self.app.intake.pause(sp)
            elif not wanted:
                self.app.intake.resume(sp)

    def say(self, what: str, content: object) -> None:
        report = {"at": monotonic_ms(), "pid": os.getpid(), "what": what, "content": content}
        line = json.dumps(report)
        with (Path(self.args.dir) / "status.jsonl").open("a") as out:
            out.write(line + "\n")


async def nothing(
    self: ChunkConsumerThread, consumer: Any, active_partitions: Any, **how: Any
) -> dict[Any, Any]:
    """An empty answer, for a consumer whose fetches reach no broker."""
    await asyncio.sleep(how["timeout"])
    return {}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--app-id", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--session-ms", type=int, default=6_000)
    parser.add_argument("--request-timeout-ms", type=int, default=20_000)
    parser.add_argument("--hold-assigned-s", type=float, default=0)
    parser.add_argument("--crash-at", type=int, default=0)
    parser.add_argument("--plain-topic")
    parser.add_argument("--slow-ms", type=float, default=0)
    parser.add_argument("--stuck", action="store_true")
    parser.add_argument("--flush-each", action="store_true")
    parser.add_argument("--chunk-records", type=int, default=4000)
    parser.add_argument("--no-progress-ms", type=int, default=30_000)
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--deaf-ms", type=int, default=20_000)
    parser.add_argument("--ack-limit-ms", type=int, default=120_000)
    args = parser.parse_args()
    Path(args.dir).mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    return run(Toy(args).create)


if __name__ == "__main__":
    sys.exit(main())
