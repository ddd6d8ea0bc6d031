"""``ecindex`` as a child of the tests, with parts of it broken on purpose.

``--patch NAME``, first and any number of times, names a function here that patches the code under test
before the command line runs. These are negative controls: an oracle that cannot fail proves nothing.
"""

from __future__ import annotations

import sys


def no_contiguity():
    """Accept every chunk as it comes, without the guard of exactness rule 2."""
    from streams.worker import contiguity

    def accept(self, chunk):
        lane = self._lanes.get(chunk.sp)
        if lane is None:
            return None
        lane.expected = lane.expected or 0
        return chunk

    def advance(self, sp, through_offset):
        lane = self._lanes[sp]
        lane.expected = through_offset + 1
        return lane.expected

    contiguity.Guard.accept = accept
    contiguity.Guard.advance = advance


def no_redis_fence():
    """Let the Lua script write any version, without the fence of exactness rule 7."""
    from streams.publish import redis_store

    fenced = "if present and not follows(sent.fence, stored) then return refuse() end"
    assert fenced in redis_store.SCRIPT
    redis_store.RedisStore.__init__.__kwdefaults__["script"] = redis_store.SCRIPT.replace(
        fenced, ""
    )


def stuck_fold():
    """Block in the fold of the first chunk for ever, so that nothing else runs on the event loop."""
    import time

    from streams.worker import level1

    async def take(self, chunk):
        while True:
            time.sleep(1)  # noqa: ASYNC251 - that is the fault

    level1.SourceRunner.fold_chunk = take


def dead_letters_hang():
    """Let each dead letter be neither written nor refused."""
    import asyncio
    import logging

    from streams.worker import level1

    def send_set_aside(self, topic, record):
        logging.getLogger(__name__).warning("a dead letter hangs")
        return asyncio.get_running_loop().create_future()

    level1.SourceRunner._send_set_aside = send_set_aside


def lost_chunks():
    """Lose one chunk in ten between the fetch and the fold, as a cleared queue does."""
    import itertools

    from streams.worker import app

    numbers = itertools.count(1)
    fold = app.IndexWorker._fold

    async def lossy(self, chunk):
        if next(numbers) % 10:
            await fold(self, chunk)

    app.IndexWorker._fold = lossy


def believes_commits():
    """Resume from the group's committed offsets, as ordinary consumers do."""
    from streams.worker import consumer_thread

    async def seek_open(self, tps):
        consumer = self._ensure_consumer()
        begins = await consumer.beginning_offsets(tps)
        found = {}
        for tp in tps:
            found[tp] = await consumer.committed(tp) or begins[tp]
            consumer.seek(tp, found[tp])
        return found

    consumer_thread.ChunkConsumerThread._seek_open = seek_open


def never_away():
    """Keep a suspended process from noticing that it was away."""
    from streams.worker import stops

    stops.Presence.away_ms = lambda _self: None


def keeps_markets():
    """Let a publisher that lost a market go on renewing its last values in Redis."""
    from streams.publish import redis_store

    redis_store.RedisStore.drop = lambda _self, _market: None


def counts_aborted():
    """Count the records of aborted transactions, as a reader that takes them for committed does."""
    from streams.worker import transactions

    transactions.AbortedTransactions.includes = lambda _self, _producer_id, _last_offset: False


def clock_of_a_file():
    """Read this machine's clock with an error: the milliseconds in the file CLOCK_AHEAD names."""
    import os
    from pathlib import Path

    from streams import clock

    error = Path(os.environ["CLOCK_AHEAD"])  # noqa: TID251 - of the test, not a setting
    true_ms = clock.now_ms
    known = ["0"]

    def wrong_ms():
        known[0] = error.read_text() or known[0]  # empty while the test writes it
        return true_ms() + int(known[0])

    clock.now_ms = wrong_ms


PATCHES = {
    each.__name__: each
    for each in (
        no_contiguity,
        no_redis_fence,
        stuck_fold,
        dead_letters_hang,
        lost_chunks,
        believes_commits,
        never_away,
        keeps_markets,
        clock_of_a_file,
        counts_aborted,
    )
}


def main() -> None:
    arguments = sys.argv[1:]
    while arguments[0] == "--patch":
        PATCHES[arguments[1]]()
        arguments = arguments[2:]
    sys.argv = ["ecindex", *arguments]
    from streams.cli import main as ecindex

    ecindex()


if __name__ == "__main__":
    main()
