"""Commands about sources: what their records become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.common import WRONG, echo_json, reported
from streams.cli.options import AsJson

sources_app = typer.Typer(no_args_is_help=True, help="What the records of a source become.")


@sources_app.callback()
def sources() -> None:
    """What the records of a source become."""


@sources_app.command("check")
def check_source_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A source file.")],
    sample: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SAMPLE_FILE]",
            help="Records, one a line (NDJSON); default: the files that the source file names.",
        ),
    ] = None,
    most: Annotated[
        int, typer.Option("--sample", min=1, max=10_000, metavar="N", help="Most records read.")
    ] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what records would become, and why not; it sends nothing and asks no server.

    Exits with 1 when the file or a record is refused.
    """
    from rich.console import Console

    from streams.operate.source_check import check_source
    from streams.operate.source_check_lines import check_lines

    with reported():
        found = check_source(file, sample, most)
    if as_json:
        echo_json(found.as_dict())
    else:
        console = Console()
        for line in check_lines(found):
            console.print(line)
    raise typer.Exit(WRONG if found.refused else 0)
