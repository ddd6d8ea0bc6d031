"""Kafka's classes as its JVM loaded them, kept for its next start.

A broker spends most of its start loading and verifying 5,000 classes. The JVM can write them down
when it ends and map them at the next start: half the time and half the CPU, on a machine where the
workers start beside it. The first stop takes some seconds longer, once for each set of jars and
Java; a stop that fails, or a crash, leaves no archive and costs nothing but the next try.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_AOT_FROM = 25
_STOPPED = (0, 143)
"""Exit codes of a JVM that ended in order: by itself, by SIGTERM."""


class ClassArchive:
    """The archive of one Java and one class path, in ``directory``."""

    def __init__(self, directory: Path, java: str, fingerprint: str) -> None:
        """``fingerprint`` names the jars. An archive of another Java would only be refused by it."""
        home = Path(java).resolve().parent.parent
        self._kind = _kind_of(home)
        name = hashlib.sha256(f"{home} {_release(home)} {fingerprint}".encode()).hexdigest()[:12]
        self._path = directory / f"classes-{name}.{self._kind}"
        self._draft: Path | None = None

    def flags(self) -> list[str]:
        """Flags for a start: to use the archive, to write it at the end, or none."""
        self.give_up()
        if self._kind == "none":
            return []
        if self._path.exists():
            use = "SharedArchiveFile" if self._kind == "jsa" else "AOTCache"
            return [f"-XX:{use}={self._path}"]
        self._draft = self._path.with_suffix(f".{os.getpid()}.draft")
        write = "ArchiveClassesAtExit" if self._kind == "jsa" else "AOTCacheOutput"
        return [f"-XX:{write}={self._draft}"]

    @property
    def writing(self) -> bool:
        """Whether the JVM started last writes an archive when it ends."""
        return self._draft is not None

    def keep(self, returncode: int | None) -> None:
        """Take what the ended JVM wrote, if it ended in order."""
        if self._draft is not None and self._draft.exists() and returncode in _STOPPED:
            for other in self._path.parent.glob(f"classes-*.{self._kind}"):
                other.unlink(missing_ok=True)  # of another Java; a JVM that has it mapped keeps it
            self._draft.replace(self._path)
        self.give_up()

    def give_up(self) -> None:
        """Forget a draft that nobody will finish."""
        if self._draft is not None:
            self._draft.unlink(missing_ok=True)
            self._draft = None


def _kind_of(home: Path) -> str:
    # A dynamic archive is written on top of the JDK's own; the runtime of the PyPI package has none.
    if (home / "lib" / "server" / "classes.jsa").exists():
        return "jsa"
    version = re.search(r'JAVA_VERSION="(\d+)', _release(home))
    return "aot" if version is not None and int(version.group(1)) >= _AOT_FROM else "none"


def _release(home: Path) -> str:
    """Return what the Java at ``home`` says of itself; nothing when it says nothing."""
    path = home / "release"
    return path.read_text(encoding="utf-8") if path.exists() else ""
