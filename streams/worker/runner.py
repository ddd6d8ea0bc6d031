"""Runs a worker: start, wait for a reason to end, drain within a deadline, exit code.

It replaces `faust.Worker`, whose stop has no deadline: a stuck agent, or a broker that is away, keeps
it for ever, and a second SIGTERM is ignored. `faust.Worker` also changes directory, process title and
streams.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from streams.worker.stops import ExitCode, Fatal, end_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from streams.worker.faust_app import ChunkApp
    from streams.worker.outbox import Outbox

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FATAL_GRACE_S = 3.0
"""Time to leave the group, so that the partitions move at once and not after a session timeout."""
_M_ARENA_MAX = -8  # malloc.h


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Worker:
    """The parts of one worker process."""

    app: ChunkApp
    outbox: Outbox
    on_drain: Callable[[], Awaitable[None]] = _nothing
    """Called at a stop, when nothing is accepted any more: flush, and put what is left."""
    on_started: Callable[[], Awaitable[None]] = _nothing
    """Called before the app starts, when Kafka is reachable and the topics exist."""
    before_joining: Callable[[], Awaitable[None]] = _nothing
    """Called last before the app joins the group; it may wait for as long as it must."""


def one_arena() -> None:
    """Make all threads allocate from one heap. Call it before there are any threads.

    glibc gives each thread a heap of its own, and no thread can use what another leaves free. That was
    9 MB of a worker, whose threads take turns anyway. Other C libraries have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def tune_process() -> None:
    """Process-wide settings of a worker; measured, see docs/performance.md."""
    # A chunk is thousands of containers that live for milliseconds. The default thresholds double
    # the cost of a fold.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    # Two threads (main loop, consumer) share the interpreter. The default wait for it, 5 ms, is
    # longer than a chunk takes.
    sys.setswitchinterval(0.0005)


def run(create: Callable[[], Worker], *, drain_deadline_s: float = 15.0) -> int:
    """Run a worker in a new loop until it must end, and end the process with its exit code.

    Returns only when the worker could not be created. ``create`` is called inside the loop.
    """
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        pass
    else:
        # Set by policy, because Faust itself creates its consumer thread's loop.
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    tune_process()
    faulthandler.enable()  # a crash in an extension shows where, not just SIGSEGV

    async def main() -> int:
        try:
            worker = create()
        except Fatal as reason:
            logger.critical("Not started: %s (%s)", reason.reason, reason.code.name)
            return int(reason.code)
        _leave(await serve(worker, drain_deadline_s=drain_deadline_s))

    return asyncio.run(main())


def _leave(code: int) -> NoReturn:
    """End the process here: everything is drained, closed or given up by now.

    A return would not do. Python dismantles its modules while threads still run (Faust's consumer with
    a loop of its own, aiokafka's unpacking, a timer), and such a thread calls into a module that is
    gone. One worker in some hundreds ended in SIGSEGV instead of its exit code.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def serve(
    worker: Worker,
    *,
    drain_deadline_s: float = 15.0,
    exit_now: Callable[[int], Any] = os._exit,
) -> int:
    """Run a worker in the running loop until SIGTERM, SIGINT or a fatal reason; return its exit code."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    timers: list[threading.Timer] = []
    app, switch = worker.app, worker.app.switch

    def on_fatal(reason: Fatal) -> None:
        logger.critical("Ending: %s (%s)", reason.reason, reason.code.name)
        # The process ends, whatever the loops do or do not do.
        timers.append(_exit_later(_FATAL_GRACE_S, reason.code, exit_now))
        loop.call_soon_threadsafe(ended.set)

    def on_signal(*_: object) -> None:
        # loop.add_signal_handler would run this on the loop: a fold that never returns would then
        # keep even the deadline from starting.
        timers.append(_exit_later(drain_deadline_s, ExitCode.DRAIN_TIMEOUT, exit_now))
        loop.call_soon_threadsafe(ended.set)

    switch.listen(on_fatal)
    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    starting: asyncio.Task[None] | None = None
    try:
        await _start_outbox(worker)
        app.watchdog.start()
        starting = loop.create_task(_join(worker))
        await _wait_for_end(app, starting, ended)
    except Fatal as reason:
        switch.trip(reason)
    if switch.reason is None:
        await _unless_it_fails(worker, _drain(worker, drain_deadline_s))
    await _unless_it_fails(worker, _stop(worker, starting))
    for number, handler in before.items():
        signal.signal(number, handler)
    if switch.reason is None:
        for timer in timers:
            timer.cancel()
    return int(switch.reason.code if switch.reason else ExitCode.OK)


async def _start_outbox(worker: Worker) -> None:
    worker.app.outbox = worker.outbox
    topics = worker.app.intake.chunk_topics | worker.app.tables.changelog_topics
    try:
        await worker.outbox.start()
        for topic in topics:
            # With fewer partitions than it had it is no reason to refuse: they are added, or the
            # partitions halt with what mends them, as under a worker that runs.
            await worker.outbox.partitions(topic)
    except UnknownTopicOrPartitionError as error:
        # Faust never assigns a topic that did not exist when it started, and logs nothing.
        wanted = ", ".join(sorted(topics))
        raise Fatal(ExitCode.USAGE, f"one of these topics is missing: {wanted}") from error
    except KafkaError as error:
        raise Fatal(ExitCode.NO_BROKER, f"cannot start: {error!r}") from error
    await worker.on_started()


async def _join(worker: Worker) -> None:
    await worker.before_joining()
    await worker.app.start()


async def _wait_for_end(app: ChunkApp, starting: asyncio.Task[None], ended: asyncio.Event) -> None:
    end = asyncio.ensure_future(ended.wait())
    stopped = asyncio.ensure_future(app.wait_until_stopped())
    try:
        await asyncio.wait({end, stopped, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and not ended.is_set() and starting.exception() is None:
            await asyncio.wait({end, stopped}, return_when=asyncio.FIRST_COMPLETED)
        crash = app.crash_reason or (starting.exception() if starting.done() else None)
        if crash is not None or not ended.is_set():
            if isinstance(crash, Fatal):
                raise crash
            raise end_for(crash, "the app crashed") from crash
    finally:
        end.cancel()
        stopped.cancel()


async def _drain(worker: Worker, deadline_s: float) -> None:
    worker.app.intake.stop()
    await worker.on_drain()
    if not await worker.outbox.drain(deadline_s):
        worker.app.switch.trip(
            Fatal(ExitCode.DRAIN_TIMEOUT, f"records not acknowledged within {deadline_s} s")
        )
    elif worker.app._consumer is not None:
        await worker.app._consumer.commit()


async def _unless_it_fails(worker: Worker, work: Coroutine[Any, Any, None]) -> None:
    """Await a step of the end. Its failure is a crash, unless there is an earlier reason."""
    ended = await asyncio.gather(work, return_exceptions=True)
    if (error := ended[0]) is not None:
        logger.error("While ending: %r", error, exc_info=error)
        worker.app.switch.trip(end_for(error, "while ending"))


async def _stop(worker: Worker, starting: asyncio.Task[None] | None) -> None:
    app = worker.app
    app.watchdog.stop()
    owned = app.intake.owned
    app.intake.close(owned)
    app._hooks.on_revoked(owned)
    if app.started:
        await app.stop()
    if starting is not None:
        starting.cancel()
    await worker.outbox.close()


def _exit_later(delay_s: float, code: int, exit_now: Callable[[int], Any]) -> threading.Timer:
    def exit_process() -> None:
        logging.shutdown()
        exit_now(int(code))

    timer = threading.Timer(delay_s, exit_process)
    timer.daemon = True
    timer.start()
    return timer
