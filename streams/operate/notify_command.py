"""``ecindex notify``, until SIGTERM or Ctrl-C, and ``ecindex notify test``, which sends one message."""

from __future__ import annotations

from collections.abc import Callable

from streams import clock
from streams.console.errors import OperationError
from streams.console.logs import configure_logs
from streams.console.signals import stop_signals
from streams.notify.message_receiver import NotTakenError
from streams.notify.notify_process import RECEIVERS, notify, receivers_of
from streams.notify.trial import TrialResult, send_trial
from streams.settings import Settings

_FIRST_SETTING = {
    "slack": "notify.slack_token and notify.slack_channel",
    "pagerduty": "notify.pagerduty_key",
    "mail": "notify.mail_server, notify.mail_from and notify.mail_to",
    "webhook": "notify.webhook_url and notify.webhook_secret",
}


async def run_notify(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Take notifications until a signal comes. Raises OperationError.

    ``on_listening`` is called with the address that Alertmanager posts to.
    """
    configure_logs(settings.log)
    with stop_signals() as stopped:
        try:
            await notify(settings, stopped, on_listening)
        except OSError as error:
            address = f"{settings.notify.host}:{settings.notify.port}"
            raise OperationError(
                f"cannot listen on {address} (notify.host, notify.port): {error}; choose another "
                "with --port, and name it in Alertmanager's webhook"
            ) from error


async def run_notify_test(settings: Settings, name: str) -> TrialResult:
    """Send a test message to one receiver. Raises OperationError with what the receiver answered."""
    if name not in RECEIVERS:
        raise OperationError(f"receiver {name!r}: expected one of {', '.join(RECEIVERS)}")
    receivers = receivers_of(settings.notify)
    try:
        if name not in receivers:
            raise OperationError(f"{name} is not set: set {_FIRST_SETTING[name]}")
        return await send_trial(receivers[name], settings.links, clock.now_ms())
    except NotTakenError as error:
        action = error.action or "it passes by itself; try again in a minute"
        raise OperationError(
            f"{name} has not taken the message: {error.reason}; {action}"
        ) from error
    finally:
        for receiver in receivers.values():
            await receiver.close()
