"""Apache Kafka's jars: pinned by coordinate, size and SHA-256, fetched once, verified each start.

The pins (``kafka_jars.sha256``) are the whole closure of two coordinates, so that a first start
reads no POM and asks for nothing that is not listed. A jar counts as cached only after its hash
was right; it is then renamed into place, so no reader ever sees half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from streams.ops.child import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

KAFKA_VERSION = "4.3.1"
ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
"""What is pinned. Without an slf4j binding the broker logs nothing, not even why it ended."""
PINS = Path(__file__).with_name("kafka_jars.sha256")
MB = 1_000_000
DOWNLOADS_AT_ONCE = 6
ATTEMPTS = 3
HASHES_AT_ONCE = 4


class ProgressFunction(Protocol):
    """Told what is being done; ``total_mb`` is 0 when there is nothing to count."""

    def __call__(self, text: str, done_mb: float, total_mb: float) -> None:
        """Show it; called from several threads, never concurrently."""


def no_progress(text: str, done_mb: float, total_mb: float) -> None:
    """Show nothing."""


@contextlib.contextmanager
def rich_progress() -> Iterator[ProgressFunction]:
    """Draw a progress bar on stderr that appears with the first message and not before."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[mb]}"))
    with contextlib.ExitStack() as stack:
        shown: list[tuple[Progress, TaskID]] = []

        def show(text: str, done_mb: float, total_mb: float) -> None:
            if not shown:
                bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
                shown.append((stack.enter_context(bar), bar.add_task(text, mb="")))
            bar, task = shown[0]
            mb = f"{done_mb:.0f} of {total_mb:.0f} MB" if total_mb else ""
            bar.update(task, description=text, completed=done_mb, total=total_mb or None, mb=mb)

        yield show


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """``$XDG_CACHE_HOME/ecindex``, else ``~/.cache/ecindex``; the caller reads the environment."""
    base = environment.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "ecindex"


class Pin(NamedTuple):
    """One jar as it must be."""

    sha256: str
    size: int
    coordinate: str

    @property
    def file_name(self) -> str:
        """As in a Maven repository: artifact-version.jar."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_pins(path: Path = PINS) -> tuple[Pin, ...]:
    """Read the pinned closure, in class path order."""
    pins = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line and not line.startswith("#"):
            try:
                sha256, size, coordinate = line.split()
                pins.append(Pin(sha256, int(size), coordinate))
            except ValueError as error:
                raise StackError(
                    f"{path}:{number}: expected 'sha256 bytes group:artifact:version', found "
                    f"{line!r}; restore the file from the repository"
                ) from error
    return tuple(pins)


class Download(Protocol):
    """Brings one coordinate's jar into a directory and tells how many bytes came at a time."""

    def __call__(self, coordinate: str, into: Path, received: Callable[[int], None]) -> Path:
        """Path of the file; any OSError or RuntimeError counts as a failed attempt."""


@dataclass
class JarCache:
    """One Kafka version's verified jars under ``directory``, shared by all of a user's runs."""

    directory: Path
    pins: Sequence[Pin] = field(default_factory=read_pins)
    progress: ProgressFunction = no_progress
    download: Download | None = None
    """None: jgo, with the repositories of its own configuration file, else Maven Central."""
    downloaded_bytes: int = 0
    """How much this object fetched; 0 when everything was cached."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Names the set of pins: what was derived from other jars is not ours."""
        joined = "".join(pin.sha256 for pin in self.pins)
        return hashlib.sha256(joined.encode()).hexdigest()[:12]

    def jars(self) -> list[Path]:
        """Paths of all jars, each verified now; downloads what is missing or wrong."""
        self.directory.mkdir(parents=True, exist_ok=True)
        wanted = self._unverified()
        if wanted:
            with self._alone():
                # Another process may have fetched them while we waited.
                self._fetch(self._unverified())
        return [self.directory / pin.file_name for pin in self.pins]

    def _unverified(self) -> list[Pin]:
        with ThreadPoolExecutor(HASHES_AT_ONCE) as pool:
            found = list(pool.map(self._found, self.pins))
        wanted = []
        for pin, sha256 in zip(self.pins, found, strict=True):
            if sha256 is None:
                wanted.append(pin)
            elif sha256 != pin.sha256:
                self.progress(
                    f"{self.directory / pin.file_name} is corrupt: expected sha256 {pin.sha256}, "
                    f"found {sha256}; fetching it again",
                    0,
                    0,
                )
                wanted.append(pin)
        return wanted

    def _found(self, pin: Pin) -> str | None:
        try:
            with (self.directory / pin.file_name).open("rb") as jar:
                return hashlib.file_digest(jar, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One downloading process at a time; the lock goes with the process that holds it."""
        with (self.directory / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.progress("waiting for another process that is downloading Kafka", 0, 0)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _fetch(self, wanted: Sequence[Pin]) -> None:
        if not wanted:
            return
        total_mb = sum(pin.size for pin in wanted) / MB
        text = f"downloading Apache Kafka {KAFKA_VERSION} ({len(wanted)} jars, {total_mb:.0f} MB)"
        self.progress(text, 0, total_mb)

        def received(size: int) -> None:
            with self._lock:
                self.downloaded_bytes += size
                self.progress(text, min(self.downloaded_bytes / MB, total_mb), total_mb)

        with (
            tempfile.TemporaryDirectory(dir=self.directory, prefix=".fetching-") as staging,
            ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
        ):
            for fetched in [
                pool.submit(self._fetch_one, pin, Path(staging), received) for pin in wanted
            ]:
                fetched.result()
        self.progress(f"Apache Kafka {KAFKA_VERSION} is in {self.directory}", total_mb, total_mb)

    def _fetch_one(self, pin: Pin, staging: Path, received: Callable[[int], None]) -> None:
        target = self.directory / pin.file_name
        download = self.download or _jgo_download
        for attempt in range(1, ATTEMPTS + 1):
            into = staging / f"{pin.file_name}.{attempt}"
            try:
                fetched = download(pin.coordinate, into, received)
                break
            except (OSError, RuntimeError) as error:
                shutil.rmtree(into, ignore_errors=True)
                if attempt == ATTEMPTS:
                    raise StackError(
                        f"expected to download {pin.coordinate} ({pin.size} bytes) from the Maven "
                        f"repositories jgo is configured with, failed {ATTEMPTS} times, last: "
                        f"{error}; check the network or jgo's configuration file, then run again"
                    ) from error
        with fetched.open("rb") as jar:
            sha256 = hashlib.file_digest(jar, "sha256").hexdigest()
        if sha256 != pin.sha256:
            raise StackError(
                f"{pin.coordinate}: expected sha256 {pin.sha256} (pinned in {PINS.name}), "
                f"downloaded {sha256} ({fetched.stat().st_size} bytes, expected {pin.size}); "
                "not used. The repository or a proxy on the way serves another file; ask its owner"
            )
        fetched.replace(target)


def _jgo_download(coordinate: str, into: Path, received: Callable[[int], None]) -> Path:
    try:
        from streams.ops import maven  # noqa: PLC0415 - jgo belongs to the optional extra
    except ImportError as error:
        raise StackError(
            f"expected the PyPI package jgo to fetch Kafka with, found: {error}; "
            "install the extra: pip install 'ecindex[local]'"
        ) from error
    return maven.download_jar(coordinate, into, received)


def write_pins() -> None:
    """Resolve the roots anew and rewrite the pins (``poe kafka-pins``); review the difference."""
    from streams.ops import maven  # noqa: PLC0415 - jgo belongs to the optional extra

    head = f"# sha256 bytes coordinate; the runtime closure of {' + '.join(ROOTS)}"
    PINS.write_text(
        "\n".join([head, "# rewritten by: poe kafka-pins", *maven.pin_lines(ROOTS), ""])
    )
