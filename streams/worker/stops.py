"""Why a worker process ends, and the one switch that ends it.

A worker that cannot continue safely must end: its state is rebuilt from the log in seconds. A worker
that heartbeats and does nothing means a frozen number; one that writes after it lost its partitions
means a wrong number. So every part that finds such a state trips the same switch, from whatever thread
it runs in. The first reason wins.
"""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING

from aiokafka.errors import (
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    KafkaTimeoutError,
    KafkaUnavailableError,
)

from streams.clock import monotonic_ms
from streams.flow.own_records import OwnRecordError
from streams.index.formats import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable


class ExitCode(enum.IntEnum):
    """Exit codes of a worker; the supervisor and the runbook tell them apart."""

    OK = 0
    CRASHED = 1
    """An exception nobody expected: a bug."""
    USAGE = 2
    """Settings or topics are wrong; a restart changes nothing."""
    SEND_FAILED = 10
    """A record was refused for good, or not acknowledged in time."""
    NO_PROGRESS = 11
    RECOVERY_STUCK = 12
    AWAY = 13
    """The process was suspended past half a session, or the group has not heard of it for a minute:
    somebody else may own its partitions."""
    LOG_CHANGED = 14
    """The log no longer holds the next offset (retention, recreated topic); needs a person."""
    DRAIN_TIMEOUT = 15
    """A stop was requested and the drain outlasted its deadline."""
    NO_BROKER = 16
    """Kafka did not answer when nothing can be done without it (a start, a recovery); try again, with
    backoff."""
    CANNOT_PUBLISH = 17
    """Redis refuses this worker, and others are there to go on. It may be started again at once."""
    GROUP_TAKEN = 18
    """A consumer that is no worker of ours is in the group; try again, with backoff."""


class Fatal(Exception):  # noqa: N818 - a reason to stop, not an error to handle
    """The reason a process ends, with what a person needs to act on it."""

    def __init__(self, code: ExitCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def end_for(error: BaseException | None, what: str) -> Fatal:
    """Return why the process ends when ``what`` has ended with an error: an outage, or a bug.

    A broker that was frozen during a recovery ended workers with the exit code of a bug, and somebody
    was woken to look for one. So did a stranger in the group.
    """
    if isinstance(error, OwnRecordError):
        newer = isinstance(error.cause, FormatError)
        return Fatal(ExitCode.USAGE if newer else ExitCode.CRASHED, f"{what}: {error}")
    if isinstance(error, InconsistentGroupProtocolError):
        reason = f"{what}: a consumer that is no worker is in the group; stop it"
        return Fatal(ExitCode.GROUP_TAKEN, reason)
    if isinstance(error, InvalidSessionTimeoutError):
        reason = (
            f"{what}: the broker refuses kafka.session_timeout_ms; expected a value between its "
            "group.min.session.timeout.ms and group.max.session.timeout.ms"
        )
        return Fatal(ExitCode.USAGE, reason)
    unanswered = isinstance(error, (TimeoutError, KafkaTimeoutError, KafkaUnavailableError))
    if unanswered or (isinstance(error, KafkaError) and error.retriable):
        return Fatal(ExitCode.NO_BROKER, f"{what}: Kafka did not answer: {error!r}")
    return Fatal(ExitCode.CRASHED, f"{what}: {error!r}")


class StopSwitch:
    """Trips once; the first reason stands. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Fatal | None = None
        self._listeners: list[Callable[[Fatal], None]] = []

    @property
    def reason(self) -> Fatal | None:
        """Why the process is ending, or None while it is not."""
        return self._reason

    def trip(self, reason: Fatal) -> None:
        """End the process for ``reason``, unless it is ending already."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            listeners = list(self._listeners)
        for listener in listeners:
            listener(reason)

    def listen(self, listener: Callable[[Fatal], None]) -> None:
        """Call ``listener`` in the thread that trips the switch; at once if it has tripped already."""
        with self._lock:
            self._listeners.append(listener)
            reason = self._reason
        if reason is not None:
            listener(reason)


class Presence:
    """Notices that the whole process was away (SIGSTOP, a suspended machine).

    The thread that heartbeats to the broker calls ``beat``: while it runs, the group membership is
    kept. So a long computation on the main loop is not mistaken for an absence. An absence, once
    noticed, is never forgotten: the first thread to run after the wake-up may well be the beating
    one, and its beat must not erase the evidence before the sender checks.
    """

    def __init__(self, limit_ms: int, clock: Callable[[], int] = monotonic_ms) -> None:
        self.limit_ms = limit_ms
        self._clock = clock
        self._last_beat: int | None = None
        self._away_ms: int | None = None

    def beat(self) -> None:
        """Record that the heartbeating thread runs."""
        # One look at the clock: of two, an absence between them would be erased by the second.
        now = self._clock()
        self._notice(now)
        self._last_beat = now

    def away_ms(self) -> int | None:
        """Return how long, in ms, the process was away if that exceeded the limit; else None."""
        self._notice(self._clock())
        return self._away_ms

    def _notice(self, now: int) -> None:
        if self._away_ms is None and self._last_beat is not None:
            silent_ms = now - self._last_beat
            if silent_ms > self.limit_ms:
                self._away_ms = silent_ms
