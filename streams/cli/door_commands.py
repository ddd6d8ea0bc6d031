"""`ecindex door`, and its tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.common import echo_json, reported, run, settings_of
from streams.cli.options import AsJson, Bootstrap, ConfigFile, parts_of

if TYPE_CHECKING:
    from streams.door.door_process import Serving

door_app = typer.Typer(
    help="Take events over HTTP, until SIGTERM or Ctrl-C.", invoke_without_command=True
)


@door_app.callback()
def door_command(
    context: typer.Context,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, metavar="PORT", help="0: any free port."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", metavar="PORT", help="0: any free port.")
    ] = None,
    *,
    without_tokens: Annotated[
        bool,
        typer.Option(
            "--without-tokens",
            help="Take events from whoever is on this machine; on loopback only.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take events over HTTP, until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is not None:
        return

    def on_listening(addresses: Serving) -> None:
        if as_json:
            echo_json(addresses._asdict())
        else:
            typer.echo(f"events    {addresses.events}")
            for each in addresses.sources:
                typer.echo(f"source    {each}")
            typer.echo(f"metrics   {addresses.metrics}")

    with reported():
        from streams.operate.door_command import run_door

        load = partial(
            settings_of,
            config,
            logs=True,
            kafka__bootstrap_servers=bootstrap,
            door__port=port,
            metrics__port=metrics_port,
        )
        run(run_door(load(), on_listening, load, without_tokens=without_tokens))


@door_app.command("token")
def make_token(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the sender, in metrics and logs.")
    ],
    config: ConfigFile = None,
    markets: Annotated[
        str | None,
        typer.Option("--markets", metavar="PK,BD,..", help="Default: all of the methodology."),
    ] = None,
    kinds: Annotated[
        str | None, typer.Option("--kinds", metavar="orders,payments", help="Default: both.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print a new token, and the lines that let it in, for the settings file."""
    with reported():
        from streams.operate.door_command import make_token as make

        made = make(settings_of(config), name, parts_of(markets), parts_of(kinds))
        if as_json:
            echo_json(made._asdict())
        else:
            typer.echo(f"token, for the sender; it is kept nowhere:\n\n{made.token}\n")
            typer.echo(f"for the settings file of the door:\n\n{made.lines}")
