"""Base of the servers that run as children: ports, start, readiness, crash, restart, freeze."""

from __future__ import annotations

import abc
import threading
from typing import TYPE_CHECKING, ClassVar

from streams import clock
from streams.local import ports
from streams.local.child import ChildProcess, StackError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLASH_RETRIES = 3
POLL_S = 0.02


class Server(abc.ABC):
    """A server on loopback ports that it keeps over restarts.

    ``launch`` forks, ``wait_ready`` waits for a real protocol answer, ``start`` does both. Everything is
    synchronous and safe to call from any thread. A test fixture calls it directly; an event loop calls
    it through ``asyncio.to_thread``.
    """

    port_count: ClassVar[int]
    ready_deadline_s: ClassVar[float] = 60.0
    stop_deadline_s: ClassVar[float] = 15.0

    def __init__(self, name: str, home: Path, env: Mapping[str, str] | None) -> None:
        self.name = name
        self.directory = home / name
        self.log_path = home / "logs" / f"{name}.log"
        self._pid_file = home / "pids" / f"{name}.pid"
        self._env = env
        self._ports: tuple[int, ...] | None = None
        self._child: ChildProcess | None = None
        self._was_ready = False

    @property
    def ports(self) -> tuple[int, ...]:
        """Loopback ports of the server; known from the first launch on."""
        if self._ports is None:
            raise StackError(f"{self.name}: asked for its address before it was started")
        return self._ports

    @property
    def child(self) -> ChildProcess:
        """Process of the server; known from the first launch on."""
        if self._child is None:
            raise StackError(f"{self.name}: asked for its process before it was started")
        return self._child

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self.child.pid

    @property
    def running(self) -> bool:
        """True while the process is there, even if it is paused or not ready."""
        return self._child is not None and self._child.running

    @abc.abstractmethod
    def _prepare(self) -> list[str]:
        """Write the files that the program needs for the present ports. Returns its command line."""

    @abc.abstractmethod
    def _answers(self) -> bool:
        """True if the server answers its own protocol."""

    @abc.abstractmethod
    def _lost_port(self) -> bool:
        """True if the log of the ended child says that another process had the port."""

    def start(self) -> None:
        """Launch the server and wait until it answers."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Fork the process, on its known ports, else those of the last run if free, else new ones."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._ports is None:
            kept = ports.remembered(self._ports_file, self.port_count)
            self._ports = kept or ports.choose(self.port_count)
        self._launch()

    def _launch(self) -> None:
        ports.remember(self._ports_file, self.ports)
        # Command line and files hold relative paths, so that no path of the user's needs escaping.
        self._child = ChildProcess(
            self.name,
            self._prepare(),
            self.log_path,
            env=self._env,
            cwd=self.directory,
            pid_file=self._pid_file,
        )
        self._child.start()

    def wait_ready(self) -> None:
        """Wait for a protocol answer. On a port clash at the first start, try other ports.

        Raises StackError.
        """
        for _ in range(CLASH_RETRIES):
            if self._wait_answer():
                self._was_ready = True
                return
            # Once the server was ready, clients rely on its ports; before that, ports may change.
            if self._was_ready or not self._lost_port():
                break
            self._ports = ports.choose(self.port_count)
            self._launch()
        found = f"none within {self.ready_deadline_s:.0f} s" if self.running else "that it ended"
        raise StackError(
            f"{self.name}: expected an answer on {ports.LOOPBACK}:{self.ports[0]}, found {found}; "
            "fix what its log names (a port, a disk, a setting) or report it with the log. "
            f"{self.child.last_words()}"
        )

    def _wait_answer(self) -> bool:
        deadline_ms = clock.monotonic_ms() + int(self.ready_deadline_s * 1000)
        pause = threading.Event()
        while self.child.running and clock.monotonic_ms() < deadline_ms:
            if ports.listens(self.pid, self.ports[0]) and self._answers():
                return True
            pause.wait(POLL_S)
        return False

    def stop(self) -> None:
        """End it in order, and by force after a deadline. Does nothing when it does not run."""
        if self._child is not None:
            self._child.terminate(self.stop_deadline_s)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL). Its directory and ports stay for ``start``."""
        self.child.kill()

    def restart(self, *, crash: bool = False) -> None:
        """Stop it (``crash``: kill it) and start it again with its directory and ports."""
        if crash:
            self.kill()
        else:
            self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, but nothing answers."""
        self.child.pause()

    def resume(self) -> None:
        """Thaw it (SIGCONT)."""
        self.child.resume()

    @property
    def _ports_file(self) -> Path:
        return self.directory / "ports.json"
