"""Command that rehearses: what would have paged on an operator's own history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.common import echo_json, reported, run, settings_of, tell
from streams.cli.options import AsJson, Bootstrap, ConfigFile
from streams.cli.start import interruptible


def rehearse(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Files that `import` reads; or one of them."),
    ] = None,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    weeks: Annotated[
        int, typer.Option("--weeks", min=1, max=520, metavar="N", help="Judge the last N weeks.")
    ] = 6,
    market: Annotated[
        str | None, typer.Option("--market", metavar="MARKET", help="Default: all with a history.")
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option("--budget", metavar="DAYS", help="Compare with this budget; repeatable."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="TOTAL:OTHERS",
            help="Compare with these parts of the budget, as 0.5:0.5; repeatable.",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw it: a name ending in .svg or .png."),
    ] = None,
    *,
    log: Annotated[
        bool, typer.Option("--log", help="Take the history that the input topics still hold.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what would have paged on a history of your own, when and why; nothing is sent."""
    from rich.console import Console

    from streams.rehearsal import command
    from streams.rehearsal.history import count_files, count_log
    from streams.rehearsal.print_rehearsal import print_rehearsal
    from streams.rehearsal.rehearsal_picture import check_picture, draw
    from streams.settings import load_methodology

    if (path is None) != log:
        raise typer.BadParameter("expected either a directory of files or --log")
    parts = [_parts(text) for text in weights or ()]
    interruptible()
    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        methodology = load_methodology(settings)
        rules = command.settings_of_rules(methodology.shifts, budget or (), parts)
        if picture is not None:
            check_picture(picture)
        if path is None:
            counted = run(count_log(settings, methodology, tell))
        else:
            counted = count_files(settings, path, methodology)
        rehearsal = command.rehearse(counted, methodology, weeks, rules, market=market, tell=tell)
        if picture is not None:
            draw(rehearsal, methodology, picture)
    if as_json:
        echo_json(command.as_json(rehearsal))
    else:
        print_rehearsal(Console(), rehearsal, methodology)


def _parts(text: str) -> tuple[float, float]:
    try:
        own, others = (float(part) for part in text.split(":"))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}; expected the parts of the total and of all others, as 0.5:0.5",
            param_hint="--weights",
        ) from None
    return own, others
