"""Ends a worker that is assigned work and does not do it.

A worker that heartbeats and makes no progress keeps its partitions from every other worker for ever,
which is worse than a dead worker. The watchdog runs in a thread of its own, because it must also
notice a main loop that never returns.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.clock import monotonic_ms
from streams.flow.incarnation import in_log
from streams.worker.stops import ExitCode, Fatal, Presence, StopSwitch

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.flow.chunk import SourcePartition
    from streams.worker.intake import Intake


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """Limits after which the watchdog ends the process."""

    no_progress_ms: int = 30_000
    recovery_ms: int = 300_000
    deaf_ms: int = 20_000
    """Limit of a recovery without a record from a broker that answers; `LoudRecovery` counts it."""
    interval_ms: int = 250


class Watchdog:
    """Checks presence, recovery and progress; trips the switch."""

    def __init__(
        self,
        intake: Intake,
        *,
        switch: StopSwitch,
        presence: Presence,
        settings: WatchdogSettings | None = None,
        clock: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._intake = intake
        self._switch = switch
        self._presence = presence
        self.settings = settings or WatchdogSettings()
        self._clock = clock
        self._recovering_since: int | None = None
        self._seen: dict[SourcePartition, tuple[int | None, int]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that checks."""
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop checking."""
        self._ended.set()

    def on_recovery_started(self) -> None:
        """Note that partitions were revoked or assigned; nothing is folded until `on_ready`."""
        self._recovering_since = self._clock()

    def on_ready(self) -> None:
        """Note that every state is recovered and its partition resumed."""
        self._recovering_since = None

    def check(self) -> Fatal | None:
        """Return why the process must end now, or None."""
        away_ms = self._presence.away_ms()
        if away_ms is not None:
            return Fatal(
                ExitCode.AWAY,
                f"the process was away for {away_ms} ms, longer than half a session: its "
                "partitions may be another's, so its state is dropped",
            )
        now = self._clock()
        since = self._recovering_since
        if since is not None:
            # Nothing is read yet, and a seek may wait as long as the broker is away.
            self._seen.clear()
            if now - since > self.settings.recovery_ms:
                reason = f"recovery has not ended in {now - since} ms"
                return Fatal(ExitCode.RECOVERY_STUCK, reason)
            return None
        return self._check_progress(now)

    def _check_progress(self, now: int) -> Fatal | None:
        owned = self._intake.owned
        for sp in self._seen.keys() - owned:
            self._seen.pop(sp, None)
        for sp in owned:
            position, log_end = self._intake.position(sp), self._intake.log_end(sp)
            stable_end = self._intake.stable_end(sp)
            # Nothing can be read beyond the last stable offset until a transaction ends.
            idle = (
                position is not None
                and log_end is not None
                and stable_end is not None
                and stable_end <= position <= log_end
            )
            before, since = self._seen.get(sp, (None, now))
            if idle or position != before or self._intake.is_paused(sp) or sp not in self._seen:
                self._seen[sp] = (position, now)
            elif now - since > self.settings.no_progress_ms:
                if log_end is not None and position is not None and position > log_end:
                    # This lasts a moment after a leader election. It lasts for good when the topic
                    # was recreated: every new record is then dropped as folded already.
                    reason = (
                        f"{sp}: the state continues at offset {in_log(position)}, the log ends at "
                        f"{in_log(log_end)}"
                    )
                    return Fatal(ExitCode.LOG_CHANGED, reason)
                at = None if position is None else in_log(position)
                end = None if log_end is None else in_log(log_end)
                reason = f"{sp}: no progress for {now - since} ms at offset {at} of {end}"
                return Fatal(ExitCode.NO_PROGRESS, reason)
        return None

    def _run(self) -> None:
        while not self._ended.wait(self.settings.interval_ms / 1000):
            reason = self.check()
            if reason is not None:
                self._switch.trip(reason)
                return
