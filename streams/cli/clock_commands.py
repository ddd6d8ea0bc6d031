"""``ecindex clock``: the clock of a market, its ``as_of``."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.common import echo_json, reported, run, settings_of
from streams.cli.options import AsJson, Bootstrap, ConfigFile

clock_app = typer.Typer(no_args_is_help=True, help="The clock of a market: its as_of.")


@clock_app.callback()
def clock() -> None:
    """The clock of a market: its as_of."""


@clock_app.command("reset")
def clock_reset(
    market: Annotated[str, typer.Argument(metavar="MARKET")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is journaled for good.")
    ],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let a market's as_of go back: it has run ahead of the events. Begins a generation."""
    from streams.operate.clock_reset import reset_clock

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        done = run(reset_clock(settings, market, reason))
    if as_json:
        echo_json(done)
        return
    before = "never published" if done.as_of is None else f"as of {done.as_of} before"
    typer.echo(f"{done.market}: generation {done.generation}, {before}")
