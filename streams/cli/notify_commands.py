"""`ecindex notify`, and its test message."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.common import echo_json, reported, run, settings_of
from streams.cli.options import AsJson, ConfigFile

notify_app = typer.Typer(
    help="Take Alertmanager's notifications and tell people, until SIGTERM or Ctrl-C.",
    invoke_without_command=True,
)


@notify_app.callback()
def notify_command(
    context: typer.Context,
    config: ConfigFile = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, metavar="PORT", help="0: any free port."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Take Alertmanager's notifications and tell people, until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is not None:
        return

    def on_listening(url: str) -> None:
        if as_json:
            echo_json({"alerts": url})
        else:
            typer.echo(f"alerts    {url}")

    with reported():
        from streams.operate.notify_command import run_notify

        settings = settings_of(config, logs=True, notify__port=port)
        run(run_notify(settings, on_listening))


@notify_app.command("test")
def send_test(
    receiver: Annotated[
        str, typer.Argument(metavar="RECEIVER", help="slack, pagerduty, mail or webhook.")
    ],
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Send a test message, and its end, to one receiver; say what came back."""
    with reported():
        from streams.operate.notify_command import run_notify_test

        result = run(run_notify_test(settings_of(config), receiver))
        if as_json:
            echo_json(result._asdict())
        else:
            ids = ", ".join(f"{name} {value}" for name, value in result.ids.items())
            typer.echo(f"{result.receiver} has taken the test message and its end ({ids})")
