"""``ecindex door``, until SIGTERM or Ctrl-C, and ``ecindex door token``, which makes a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from streams.console.errors import OperationError, unknown_market
from streams.console.logs import configure_logs
from streams.console.signals import stop_signals
from streams.door.door_process import Serving, door
from streams.door.door_tokens import hash_of, new_token, settings_lines
from streams.settings import DoorToken, Settings, load_methodology


class NewToken(NamedTuple):
    """A token that was made just now. ``lines``: what the settings need, to let it in."""

    token: str
    sha256: str
    lines: str


async def run_door(
    settings: Settings,
    on_listening: Callable[[Serving], None],
    load_again: Callable[[], Settings],
    *,
    without_tokens: bool,
) -> None:
    """Take events until a signal comes. Raises OperationError and SettingsError.

    ``load_again``: loads the settings as they are by then.
    """
    configure_logs(settings.log)
    with stop_signals() as stopped:
        try:
            await door(settings, stopped, on_listening, load_again, without_tokens=without_tokens)
        except OSError as error:
            address = f"{settings.door.host}:{settings.door.port}"
            raise OperationError(
                f"cannot listen on {address} (door.host, door.port), or read door.tls_*: {error}"
            ) from error


def make_token(
    settings: Settings, name: str, markets: Sequence[str] | None, kinds: Sequence[str] | None
) -> NewToken:
    """A token for some markets and kinds; without any, for all that there are now.

    Nothing is kept of it. Raises OperationError.
    """
    known = load_methodology(settings).markets
    for code in markets or ():
        if code not in known:
            raise unknown_market(code, known)
    token = new_token()
    try:
        let_in = DoorToken.model_validate(
            {"name": name, "sha256": hash_of(token), "markets": tuple(markets or known)}
            | ({"kinds": tuple(kinds)} if kinds else {})
        )
    except ValueError as error:
        raise OperationError(
            f"token {name!r}: expected a name of a-z, 0-9 and -, and of the kinds orders, payments"
        ) from error
    lines = settings_lines(let_in.name, token, let_in.markets, let_in.kinds)
    return NewToken(token, let_in.sha256, lines)
