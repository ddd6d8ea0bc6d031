"""Commands that only read: show, explain, audit, export, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from streams.cli.common import WRONG, echo_json, reported, run, settings_of, tell
from streams.cli.options import (
    AsJson,
    Bootstrap,
    ConfigFile,
    RedisUrl,
    WorkerUrls,
    day_of,
    instant_of,
)


def show_markets(
    market: Annotated[
        str | None, typer.Argument(metavar="[MARKET]", help="Default: all published markets.")
    ] = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh each second until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the current values in Redis; exits with 1 unless every market is live."""
    from rich.console import Console

    from streams.operate import show_command

    if watch and as_json:
        raise typer.BadParameter("--watch is for people, --json for machines; choose one")
    markets = None if market is None else [market]
    with reported():
        settings = settings_of(config, redis__url=redis)
        if watch:
            show_command.show_until_stopped(settings, markets, Console())
            return
        live = show_command.show_once(settings, markets, Console(), as_json=as_json)
    raise typer.Exit(0 if live else WRONG)


def explain_command(
    market: Annotated[str, typer.Argument(metavar="MARKET")],
    index: Annotated[
        str, typer.Argument(metavar="INDEX", help="A name in docs/contract.md, as orders.")
    ],
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="`all` for the market.")],
    window: Annotated[str, typer.Argument(metavar="WINDOW", help="1m, 5m, 1h, 24h or day.")],
    dimension: Annotated[
        str | None,
        typer.Option("--dimension", metavar="NAME", help="Needed when several have the member."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="AS_OF", help="As journaled by then; default: the newest."),
    ] = None,
    day: Annotated[
        str | None,
        typer.Option("--day", metavar="YYYY-MM-DD", help="Which day, for the window `day`."),
    ] = None,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Explain a published number step by step and compute it again; exits with 1 if it differs."""
    from rich.console import Console

    from streams.console.progress import rich_progress
    from streams.proof.explain.explanation_types import Asked
    from streams.proof.explain.gather import explain
    from streams.proof.explain.print_explanation import show

    with reported(), rich_progress() as progress:
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        at_ms, on = instant_of("--at", at), day_of("--day", day)
        asked = Asked(market, index, member, window, dimension, at_ms, on)
        explanation = run(explain(settings, asked, progress))
    if as_json:
        echo_json(explanation)
    else:
        show(explanation, Console())
    raise typer.Exit(0 if explanation.equal else WRONG)


def audit_command(
    bootstrap: Bootstrap = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    market: Annotated[
        list[str] | None, typer.Option("--market", metavar="CODE", help="Only this; repeatable.")
    ] = None,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="SECONDS", help="Time for workers to reach the log's end."),
    ] = 60.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Recompute every value from the log and compare it to the last digit."""
    from streams.console.progress import rich_progress
    from streams.proof.audit.auditor import audit

    with reported(), rich_progress() as progress:
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap, redis__url=redis)
        work = audit(settings, markets=market or (), wait_ms=int(wait * 1000), progress=progress)
        report = run(work)
    if as_json:
        echo_json(report.as_json())
    else:
        typer.echo("\n".join(report.lines()))
    raise typer.Exit(0 if report.equal else WRONG)


def export_command(
    what: Annotated[
        Literal["days", "values"],
        typer.Argument(help="Day values, or the newest windows of each market."),
    ],
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="`-`: standard output.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option("--parquet", metavar="FILE")] = None,
    market: Annotated[
        list[str] | None, typer.Option("--market", metavar="CODE", help="Only this; repeatable.")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First local day.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Last local day, included.")
    ] = None,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Write what is published as a table, with vintages, revisions and how to cite it.

    Exits with 1 when records of its markets and days could not be read. The table is written without
    them; stderr, --json and the line to cite say so.
    """
    from streams.console.progress import rich_progress
    from streams.proof.export.read_table import STDOUT, ExportSelection, export, read
    from streams.proof.export.table_files import polars, same_file

    if csv is None and parquet is None:
        raise typer.BadParameter("give --csv FILE, --parquet FILE or both")
    if parquet == STDOUT or (as_json and csv == STDOUT):
        raise typer.BadParameter("standard output is for the CSV alone; name a file")
    if csv is not None and parquet is not None and same_file(csv, parquet):
        raise typer.BadParameter("--csv and --parquet name one file; give each its own")
    if what == "values" and (first or last):
        raise typer.BadParameter("--from and --to choose days; `export values` has no days")
    days = (day_of("--from", first), day_of("--to", last))
    selection = ExportSelection(what, tuple(market or ()), *days)
    with reported(), rich_progress() as progress:
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        if parquet is not None:
            polars()  # before anything is read
        exported = run(read(settings, selection, progress))
        files = export(exported, csv=csv, parquet=parquet)
    for line in exported.unreadable.lines():
        tell(line)
    if as_json:
        echo_json(exported.summary(files))
        raise typer.Exit(0 if exported.complete else WRONG)
    named = ", ".join(map(str, files)) or "standard output"
    tell(f"{len(exported.rows):,} rows to {named}\n{exported.citation.line}")
    raise typer.Exit(0 if exported.complete else WRONG)


def doctor(
    bootstrap: Bootstrap = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    worker: WorkerUrls = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with this installation, and the command that fixes it."""
    from streams.proof.doctor.diagnose import diagnose

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap, redis__url=redis)
        diagnosis = run(diagnose(settings, worker or ()))
    if as_json:
        echo_json(diagnosis.as_json())
    else:
        typer.echo("\n".join(diagnosis.lines()))
    raise typer.Exit(WRONG if diagnosis.wrong else 0)
