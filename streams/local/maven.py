"""The only module that imports jgo, the pure-Python Maven resolver (extra ``local``)."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from jgo.config import GlobalSettings
from jgo.maven import MavenContext, PythonResolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TIMEOUT_S = 30


def _context(repo_cache: Path, resolver: PythonResolver) -> MavenContext:
    # Repositories from the user's own jgo configuration (a company mirror), else Maven Central.
    repositories = GlobalSettings.load().repositories or None
    return MavenContext(
        resolver=resolver, repo_cache=repo_cache, remote_repos=repositories, timeout=TIMEOUT_S
    )


def download_jar(coordinate: str, into: Path, received: Callable[[int], None]) -> Path:
    """Fetch one jar below ``into``, an empty directory of the caller's. Returns the jar's path.

    ``received`` is called with the number of bytes of each piece.
    """
    counted = 0

    def count(size: int) -> None:
        nonlocal counted
        counted += size
        received(size)

    @contextlib.contextmanager
    def on_file(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield count

    group, artifact, version = coordinate.split(":")
    context = _context(into, PythonResolver(progress_callback=on_file))
    jar = Path(context.project(group, artifact).at_version(version).artifact().resolve())
    received(jar.stat().st_size - counted)  # jgo reports nothing when the server gave no length
    return jar


def pin_lines(coordinates: Sequence[str]) -> list[str]:
    """Resolve the runtime closure of coordinates to lines 'sha256 bytes group:artifact:version'."""
    with TemporaryDirectory() as directory:
        resolver = PythonResolver()
        context = _context(Path(directory), resolver)
        wanted = [context.create_dependency(coordinate) for coordinate in coordinates]
        roots, others = resolver.resolve(wanted)
        lines = []
        for dependency in [*roots, *others]:
            artifact = dependency.artifact
            jar = Path(artifact.resolve())
            with jar.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            name = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            lines.append(f"{sha256} {jar.stat().st_size} {name}")
        return sorted(lines, key=lambda line: line.split()[2])
