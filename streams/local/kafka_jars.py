"""Apache Kafka's jars: pinned by coordinate, size and SHA-256, fetched once, verified each start.

The pins (``kafka_jars.sha256``) are the whole closure of two coordinates, so a first start reads no POM
and fetches nothing that is not listed. A jar is renamed into place once its hash has been verified, so
no reader ever sees a wrong jar or half of one.
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

from streams.console.progress import ProgressFunction, no_progress
from streams.local.child import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

KAFKA_VERSION = "4.3.1"
ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
"""Pinned coordinates. Without an slf4j binding the broker logs nothing, not even why it ended."""
PINS = Path(__file__).with_name("kafka_jars.sha256")
MB = 1_000_000
DOWNLOADS_AT_ONCE = 6
ATTEMPTS = 3
HASHES_AT_ONCE = 4
STAGING = ".fetching-"


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """``$XDG_CACHE_HOME/ecindex``, else ``~/.cache/ecindex``. The caller reads the environment."""
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "ecindex"


class Pin(NamedTuple):
    """One pinned jar: its SHA-256, its size in bytes, its coordinate (group:artifact:version)."""

    sha256: str
    size: int
    coordinate: str

    @property
    def file_name(self) -> str:
        """Name of the file in a Maven repository: artifact-version.jar."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_pins(path: Path = PINS) -> tuple[Pin, ...]:
    """Read the pinned closure, in class path order. Raises StackError."""
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
    """Fetches the jar of one coordinate."""

    def __call__(self, coordinate: str, into: Path, received: Callable[[int], None]) -> Path:
        """Fetch it below ``into`` and return its path. OSError and RuntimeError mean a failed attempt.

        ``received`` is called with the number of bytes of each piece.
        """


@dataclass
class JarCache:
    """Verified jars of one Kafka version under ``directory``. All runs of a user share them."""

    directory: Path
    pins: Sequence[Pin] = field(default_factory=read_pins)
    progress: ProgressFunction = no_progress
    download: Download | None = None
    """None: jgo, with the repositories of its own configuration file, else Maven Central."""
    downloaded_bytes: int = 0
    """Bytes that this object fetched; 0 when everything was cached."""

    def __post_init__(self) -> None:
        self._counting = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Name of the set of pins. Files derived from other jars have another name."""
        joined = "".join(pin.sha256 for pin in self.pins)
        return hashlib.sha256(joined.encode()).hexdigest()[:12]

    def jars(self) -> list[Path]:
        """Paths of all jars, each verified now. Downloads jars that are missing or wrong.

        Raises StackError.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"{self.directory}: expected to keep Kafka's jars there, found: {error}; make it "
                "writable or choose another place with XDG_CACHE_HOME"
            ) from error
        if self._to_fetch():
            with self._alone():
                # Checked again: another process may have fetched them while we waited.
                wanted = self._to_fetch(tell=True)
                if wanted:
                    self._fetch(wanted)
        return [self.directory / pin.file_name for pin in self.pins]

    def _to_fetch(self, *, tell: bool = False) -> list[Pin]:
        with ThreadPoolExecutor(HASHES_AT_ONCE) as pool:
            found = list(pool.map(self._sha256, self.pins))
        if tell:
            for pin, sha256 in zip(self.pins, found, strict=True):
                if sha256 not in (None, pin.sha256):
                    path = self.directory / pin.file_name
                    self.progress(
                        f"{path} is corrupt: expected sha256 {pin.sha256}, found {sha256}; "
                        "fetching it again",
                        0,
                        0,
                    )
        return [pin for pin, sha256 in zip(self.pins, found, strict=True) if sha256 != pin.sha256]

    def _sha256(self, pin: Pin) -> str | None:
        try:
            return _sha256(self.directory / pin.file_name)
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process download at a time. The lock ends with the process that holds it."""
        with (self.directory / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.progress("waiting for another process that is downloading Kafka", 0, 0)
                fcntl.flock(lock, fcntl.LOCK_EX)
            for left_by_a_crash in self.directory.glob(f"{STAGING}*"):
                shutil.rmtree(left_by_a_crash, ignore_errors=True)
            yield

    def _fetch(self, wanted: Sequence[Pin]) -> None:
        total_mb = sum(pin.size for pin in wanted) / MB
        text = f"downloading Apache Kafka {KAFKA_VERSION} ({len(wanted)} jars, {total_mb:.0f} MB)"
        self.progress(text, 0, total_mb)

        def received(size: int) -> None:
            with self._counting:
                self.downloaded_bytes += size
                self.progress(text, min(self.downloaded_bytes / MB, total_mb), total_mb)

        with (
            tempfile.TemporaryDirectory(dir=self.directory, prefix=STAGING) as staging,
            ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
        ):
            jobs = [pool.submit(self._fetch_one, pin, Path(staging), received) for pin in wanted]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self.progress(f"Apache Kafka {KAFKA_VERSION} is in {self.directory}", 0, 0)

    def _fetch_one(self, pin: Pin, staging: Path, received: Callable[[int], None]) -> None:
        download = self.download or _jgo_download
        failure: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                fetched = download(pin.coordinate, staging / f"{attempt}-{pin.file_name}", received)
                sha256, size = _sha256(fetched), fetched.stat().st_size
                if sha256 == pin.sha256:
                    fetched.replace(self.directory / pin.file_name)
                    return
            except (OSError, RuntimeError) as error:
                failure = error
            else:
                failure = ValueError(
                    f"found sha256 {sha256} ({size} bytes): the transfer broke, or a proxy or "
                    "repository serves another file"
                )
        raise StackError(
            f"expected {pin.coordinate} with sha256 {pin.sha256} ({pin.size} bytes, pinned in "
            f"{PINS.name}) from the Maven repositories jgo is configured with; {ATTEMPTS} attempts "
            f"failed, the last one: {failure}. Check the network and jgo's configuration file, "
            "then run again; jars already fetched are kept"
        ) from failure


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _jgo_download(coordinate: str, into: Path, received: Callable[[int], None]) -> Path:
    try:
        from streams.local import maven  # noqa: PLC0415 - jgo belongs to the optional extra
    except ImportError as error:
        raise StackError(
            f"expected the PyPI package jgo to fetch Kafka with, found: {error}; "
            "install the extra: pip install 'ecindex[local]'"
        ) from error
    return maven.download_jar(coordinate, into, received)


def write_pins() -> None:
    """Resolve the roots again and rewrite the pins (``poe kafka-pins``). Review the difference."""
    from streams.local import maven  # noqa: PLC0415 - jgo belongs to the optional extra

    head = f"# sha256 bytes coordinate; the runtime closure of {' + '.join(ROOTS)}"
    PINS.write_text(
        "\n".join([head, "# rewritten by: poe kafka-pins", *maven.pin_lines(ROOTS), ""])
    )
