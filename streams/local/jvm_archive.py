"""Kafka's classes as its JVM loaded them, kept for its next start.

A broker spends most of its start loading and verifying 5,000 classes. The JVM can write them to an
archive when it ends, and map the archive at the next start. That start takes half the time and half the
CPU, on a machine where the workers start beside it. Once for each set of jars and Java, the stop takes
some seconds longer. A stop that fails, or a crash, leaves no archive; the next stop tries again.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_AOT_FROM = 25
_STOPPED = (0, 143)
"""Exit codes of a JVM that ended in order: by itself, or by SIGTERM."""


class ClassArchive:
    """The archive of one Java and one class path, in ``directory``."""

    def __init__(self, directory: Path, java: str, fingerprint: str) -> None:
        """``fingerprint`` names the jars. Each Java has its own archive: it refuses that of another."""
        home = Path(java).resolve().parent.parent
        self._kind = _kind_of(home)
        name = hashlib.sha256(f"{home} {_release(home)} {fingerprint}".encode()).hexdigest()[:12]
        self._path = directory / f"classes-{name}.{self._kind}"
        self._draft: Path | None = None

    def flags(self) -> list[str]:
        """JVM flags for a start: they use the archive, or write it at the end; or no flags."""
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
        """True if the JVM that was started last writes an archive when it ends."""
        return self._draft is not None

    def keep(self, returncode: int | None) -> None:
        """Keep the archive that the ended JVM wrote, if it ended in order."""
        if self._draft is not None and self._draft.exists() and returncode in _STOPPED:
            for other in self._path.parent.glob(f"classes-*.{self._kind}"):
                other.unlink(missing_ok=True)  # of other jars or Java; a JVM that maps it keeps it
            self._draft.replace(self._path)
        self.give_up()

    def give_up(self) -> None:
        """Delete a draft that no JVM will finish."""
        if self._draft is not None:
            self._draft.unlink(missing_ok=True)
            self._draft = None


def _kind_of(home: Path) -> str:
    # A dynamic archive is written on top of the JDK's own, which the runtime of the PyPI package lacks.
    if (home / "lib" / "server" / "classes.jsa").exists():
        return "jsa"
    version = re.search(r'JAVA_VERSION="(\d+)', _release(home))
    return "aot" if version is not None and int(version.group(1)) >= _AOT_FROM else "none"


def _release(home: Path) -> str:
    """Return the text of the release file of the Java at ``home``; empty if it has none."""
    path = home / "release"
    return path.read_text(encoding="utf-8") if path.exists() else ""
