"""``ecindex shifts``: incidents, and pages against the budget."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.common import echo_json, reported, settings_of
from streams.cli.options import AsJson, ConfigFile, RedisUrl, parts_of

shifts_app = typer.Typer(no_args_is_help=True, help="Shifts of demand, by incident.")


@shifts_app.callback()
def shifts() -> None:
    """Shifts of demand, by incident."""


@shifts_app.command("list")
def shifts_list(
    markets: Annotated[
        str | None, typer.Option("--markets", metavar="PK,BD,..", help="Default: all.")
    ] = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List incidents with what was said of them, and the pages of 30 and 365 days by word."""
    from streams.operate.shift_list import lines, list_shifts

    with reported():
        settings = settings_of(config, redis__url=redis)
        listed = list_shifts(settings, parts_of(markets))
    if as_json:
        echo_json([each._asdict() for each in listed])
        return
    typer.echo("\n".join(lines(listed)))
