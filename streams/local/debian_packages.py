"""Programs from Debian's packages, without root: taken from PATH, else fetched once and unpacked.

apt checks the archive's signature and the package's hash. Nothing is installed and no package script
runs. A package is renamed into place once it is unpacked whole, so no reader ever sees half a package.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from streams.console.progress import ProgressFunction, no_progress
from streams.local.child import StackError

FETCH_TIMEOUT_S = 300
VERSION_TIMEOUT_S = 30
STAGING = ".fetching-"
_VERSION = re.compile(r"version[ =]+v?(\d+)\.(\d+)")
# With its own lists, apt needs neither root nor an earlier `apt-get update`.
_OWN_LISTS = ("-o", "Dir::State=state", "-o", "Dir::Cache=cache")
# Started by root, apt would fetch as a user who cannot write to our directory.
_AS_WE_ARE = ("-o", "APT::Sandbox::User=root")


class Program(NamedTuple):
    """A program, the package that has it, and the oldest version with the features that we use."""

    names: tuple[str, ...]
    """Names on PATH. The first one that is there and new enough is used."""
    package: str
    inside: str
    """Path of the program in the package."""
    version_min: tuple[int, int]
    files_in_usr_share: bool = False
    """True if it reads files of its package below /usr/share, wherever the program itself is."""

    @property
    def name(self) -> str:
        """Name of the program in messages and in our directories."""
        return self.names[0]


PROMETHEUS = Program(("prometheus",), "prometheus", "usr/bin/prometheus", (2, 42))
"""2.42 is the first version with keep_firing_for."""
PROMTOOL = Program(("promtool",), "prometheus", "usr/bin/promtool", (2, 42))
ALERTMANAGER = Program(
    ("alertmanager", "prometheus-alertmanager"),
    "prometheus-alertmanager",
    "usr/bin/prometheus-alertmanager",
    (0, 25),
    files_in_usr_share=True,
)
AMTOOL = Program(("amtool",), "prometheus-alertmanager", "usr/bin/amtool", (0, 25))


class DebianPackages:
    """Packages unpacked below ``directory``. All runs of a user share them."""

    def __init__(self, directory: Path, *, progress: ProgressFunction = no_progress) -> None:
        self.directory = directory
        self._progress = progress

    def command(self, program: Program) -> list[str]:
        """Beginning of a command line that starts ``program``. Fetches its package if it must.

        Raises StackError if it is not on PATH and cannot be fetched.
        """
        seen = []
        for name in program.names:
            path = shutil.which(name)
            if path is not None:
                version = _version(path)
                if version is not None and version >= program.version_min:
                    return [path]
                seen.append(f"{path} (version {_dotted(version)})")
        unpacked = self._unpacked(program, seen)
        argv = [str(unpacked / program.inside)]
        if program.files_in_usr_share:
            return [*_with_usr_share(unpacked / "usr" / "share"), *argv]
        return argv

    def _unpacked(self, program: Program, seen: Sequence[str]) -> Path:
        place = self.directory / program.package
        if not place.exists():
            for tool in ("apt-get", "dpkg-deb"):
                if shutil.which(tool) is None:
                    raise self._not_there(program, seen, f"no {tool} on PATH to fetch it with")
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._alone():
                if not place.exists():  # another process may have fetched it while we waited
                    self._progress(f"fetching Debian's package {program.package}", 0, 0)
                    try:
                        self._fetch(program.package, place)
                    except (OSError, subprocess.SubprocessError) as error:
                        raise self._not_there(program, seen, _error_text(error)) from error
        if _version(str(place / program.inside)) is None:
            shutil.rmtree(place)
            raise self._not_there(program, seen, f"{place / program.inside} does not run here")
        return place

    def _fetch(self, package: str, place: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=STAGING) as name:
            staging = Path(name)
            try:
                _run(["apt-get", *_AS_WE_ARE, "download", package], staging)
            except subprocess.CalledProcessError:  # apt has no lists, or old ones
                (staging / "state" / "lists" / "partial").mkdir(parents=True)
                _run(["apt-get", *_AS_WE_ARE, *_OWN_LISTS, "update"], staging)
                _run(["apt-get", *_AS_WE_ARE, *_OWN_LISTS, "download", package], staging)
            (archive,) = staging.glob("*.deb")
            _run(["dpkg-deb", "--extract", archive.name, "unpacked"], staging)
            (staging / "unpacked").rename(place)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process fetch at a time. The lock ends with the process that holds it."""
        with (self.directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left_by_a_crash in self.directory.glob(f"{STAGING}*"):
                shutil.rmtree(left_by_a_crash, ignore_errors=True)
            yield

    def _not_there(self, program: Program, seen: Sequence[str], found: str) -> StackError:
        wanted = " or ".join(program.names)
        also = f", {', '.join(seen)}" if seen else ""
        return StackError(
            f"expected {wanted} >= {_dotted(program.version_min)} on PATH, or to fetch Debian's "
            f"package {program.package} into {self.directory}; found: {found}{also}. Install "
            f"{program.name} with the system's package manager and put it on PATH"
        )


def _with_usr_share(share: Path) -> list[str]:
    """Prefix of a command line: its program alone sees ``share`` and /usr/share as one directory.

    Debian's Alertmanager reads its templates from a fixed path that no setting changes.
    """
    script = 'mount -t overlay overlay -o "lowerdir=$0:/usr/share" /usr/share && exec "$@"'
    namespace = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    return ["unshare", *namespace, "sh", "-c", script, str(share.absolute())]


def _run(argv: Sequence[str], directory: Path) -> None:
    subprocess.run(  # noqa: S603 - the system's package tools
        argv, cwd=directory, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=True
    )


def _version(path: str) -> tuple[int, int] | None:
    try:
        shown = subprocess.run(  # noqa: S603 - from the user's own PATH, or fetched by apt
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(shown.stdout + shown.stderr)
    return None if match is None else (int(match[1]), int(match[2]))


def _dotted(version: tuple[int, int] | None) -> str:
    return "unknown" if version is None else f"{version[0]}.{version[1]}"


def _error_text(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = str(error.stderr).strip().splitlines() or [f"exit code {error.returncode}"]
        return f"{' '.join(error.cmd[:1])}: {lines[-1]}"
    return str(error)
