"""Child of ``bench fold``: one whole worker on one core, timed from first chunk to last commit.

The time begins with the first accepted chunk. It ends when Kafka has acknowledged the last checkpoint of
every source partition, and the partials before it. That is what the bench claims to measure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path

from streams.flow.chunk import Chunk, SourcePartition
from streams.settings import example, load_methodology, load_settings
from streams.worker.app import IndexWorker
from streams.worker.runner import run


class TimedWorker(IndexWorker):
    """A worker that prints how long it took once ``ends`` is acknowledged, and then exits.

    ``ends``: source partition -> its last offset. ``lingers_s``: how long it runs on before the exit.
    """

    ends: dict[SourcePartition, int]
    lingers_s: float
    _began: float | None = None
    _cpu_began: float = 0.0

    async def _fold(self, chunk: Chunk) -> None:
        if self._began is None:
            self._began, self._cpu_began = time.perf_counter(), time.process_time()
            self._missing = dict(self.ends)
            intake = self.app.intake
            mark_done = intake.mark_done

            def marked(sp: SourcePartition, through: int) -> None:
                mark_done(sp, through)
                if through >= self._missing.get(sp, 1 << 62):
                    del self._missing[sp]
                    if not self._missing:
                        self._finish()

            intake.mark_done = marked  # type: ignore[method-assign,assignment]
        await super()._fold(chunk)

    def _finish(self) -> None:
        assert self._began is not None
        found = {
            "seconds": time.perf_counter() - self._began,
            "cpu_seconds": time.process_time() - self._cpu_began,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "ids": sum(r.level.source.held_ids for r in self._sources.values()),
            "through": {str(sp): r.level.through for sp, r in self._sources.items()},
        }
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        # What the worker does from here on is not measured; its exit is not measured either.
        asyncio.get_running_loop().call_later(self.lingers_s, os._exit, 0)


def main() -> int:
    """Run the child. Only ``bench fold`` gives these arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--through", type=int, required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--linger", type=float, required=True)
    args = parser.parse_args()
    settings = load_settings(
        None,
        {
            "kafka.bootstrap_servers": args.bootstrap,
            "redis.url": args.redis,
            "redis.prefix": args.prefix,
            "topics.prefix": args.prefix,
            "data_dir": Path(args.dir),
            "methodology": example("demo"),
        },
    )
    inputs = {settings.topics.orders: args.partitions, settings.topics.payments: args.partitions}
    worker = TimedWorker(settings, load_methodology(settings), inputs)
    worker.lingers_s = args.linger
    worker.ends = {
        SourcePartition(settings.topics.orders, partition): args.through
        for partition in range(args.partitions)
    }
    return run(worker.create)


if __name__ == "__main__":
    sys.exit(main())
