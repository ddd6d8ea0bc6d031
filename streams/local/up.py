"""``ecindex up``: a whole index in one directory, until a signal stops it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streams.console.logs import configure_logs
from streams.console.progress import ProgressFunction, no_progress
from streams.console.signals import stop_signals
from streams.local.local_index import SETTINGS_FILE, LocalIndex, UpOptions
from streams.local.refusals import tell_refusals
from streams.settings import Settings, announced, load_methodology, or_kept


@asynccontextmanager
async def local_index(
    settings: Settings,
    options: UpOptions,
    *,
    tell: Callable[[str], None],
    progress: ProgressFunction = no_progress,
) -> AsyncIterator[LocalIndex]:
    """Yield a LocalIndex that is not yet launched, and stop it at the end.

    A temporary directory is removed at the end.
    """
    directory = options.directory or Path(tempfile.mkdtemp(prefix="ecindex-"))
    index = LocalIndex(directory, settings, options, tell=tell, progress=progress)
    index.logs.mkdir(parents=True, exist_ok=True)
    configure_logs(settings.log, index.logs / "main.log")
    try:
        with announced(settings, index.settings_file):
            yield index
    finally:
        try:
            await index.stop()
        except asyncio.CancelledError:  # a second signal: end at once
            index.kill()
            raise
        finally:
            if options.directory is None:
                shutil.rmtree(directory, ignore_errors=True)


async def up(
    settings: Settings,
    options: UpOptions,
    *,
    on_ready: Callable[[LocalIndex], None],
    tell: Callable[[str], None],
    progress: ProgressFunction = no_progress,
) -> None:
    """Run a local index until SIGTERM or SIGINT. Raises OperationError and SettingsError.

    A directory that an index was kept in goes on with its methodology, unless the settings name one.
    """
    if options.directory is not None:
        settings = or_kept(settings, options.directory / SETTINGS_FILE)
    load_methodology(settings)  # an error in it is reported before anything is downloaded
    with stop_signals() as stopped:
        async with local_index(settings, options, tell=tell, progress=progress) as index:

            async def serve() -> None:
                await index.launch()
                await index.await_servers()
                await index.create_topics()
                await index.await_ready()
                on_ready(index)
                await tell_refusals(index.settings, tell)

            await race(stopped.wait(), index.watch(), serve())


async def race(*works: Coroutine[Any, Any, Any]) -> None:
    """Run all works until the first ends, then cancel the others. Raises what the first raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
