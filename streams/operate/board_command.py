"""``ecindex board``: serves the live page until SIGTERM or Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable

from streams.board.board_process import serve
from streams.console.errors import OperationError
from streams.console.logs import configure_logs
from streams.console.signals import stop_signals
from streams.operate.answering import sending
from streams.settings import Settings


async def run_board(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Serve until a signal comes. Raises OperationError.

    ``on_listening`` is called with the page's address.
    """
    configure_logs(settings.log)
    with stop_signals() as stopped:
        try:
            await serve(settings, stopped, on_listening, sending(settings))
        except OSError as error:
            address = f"{settings.board.host}:{settings.board.port}"
            raise OperationError(
                f"cannot listen on {address} (board.host, board.port): {error}; choose another "
                "with --port, or 0 for any"
            ) from error
