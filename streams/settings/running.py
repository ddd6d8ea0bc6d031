"""Which indexes ``demo`` and ``up`` run on this machine now, and where their settings are.

Each holds a lock on a file of its own. The lock ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from streams.settings.loading import origin_of
from streams.settings.model import Settings

_DIRECTORY = "running"
ADDRESSES = ("kafka.bootstrap_servers", "redis.url")


@contextlib.contextmanager
def announced(settings: Settings, settings_file: Path) -> Iterator[None]:
    """Say while within that an index runs whose settings are in ``settings_file``."""
    directory = settings.cache_dir / _DIRECTORY
    with contextlib.ExitStack() as stack:
        # Where nothing can be written, nothing is announced: the index runs all the same.
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            being_written = directory / f".{os.getpid()}"
            stack.callback(_forget, being_written)
            file = stack.enter_context(being_written.open("w", encoding="utf-8"))
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(str(settings_file.absolute()))
            file.flush()
            # A file under its name is locked, so nobody takes it for what an ended process left.
            stack.callback(_forget, being_written.rename(directory / str(os.getpid())))
        yield


def running_indexes(settings: Settings) -> list[Path]:
    """Return the settings file of each index that runs now; forget those that ended."""
    files, found = list[Path](), []
    with contextlib.suppress(OSError):
        files = sorted((settings.cache_dir / _DIRECTORY).glob("[0-9]*"))
    for each in files:
        # Another user's, or of one that ended since the listing.
        with contextlib.suppress(OSError), each.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(Path(file.read()))
            else:
                _forget(each)
    # Not is_file: it raises where the directory of another user may not be entered.
    return [file for file in found if os.access(file, os.R_OK)]


def elsewhere(settings: Settings, addresses: tuple[str, ...]) -> list[Path]:
    """Return the settings files of running indexes, where nobody said which servers to ask.

    ``addresses``: those of ADDRESSES that are asked. Empty when one of them was given.
    """
    if not addresses or any(origin_of(settings, name) != "default" for name in addresses):
        return []
    return running_indexes(settings)


def _forget(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)
