"""``ecindex translate``: translates the records of sources until SIGTERM or Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable

from streams.console.errors import OperationError
from streams.console.logs import configure_logs
from streams.console.signals import stop_signals
from streams.settings import Settings
from streams.translator.translator_process import translate


async def run_translate(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Translate until a signal comes. Raises OperationError and SettingsError.

    ``on_listening`` is called with the address of the metrics.
    """
    configure_logs(settings.log)
    with stop_signals() as stopped:
        try:
            await translate(settings, stopped, on_listening)
        except OSError as error:
            address = f"{settings.metrics.host}:{settings.metrics.port}"
            raise OperationError(
                f"cannot listen on {address} (metrics.host, metrics.port): {error}; choose another "
                "port with --metrics-port, or 0 for any"
            ) from error
