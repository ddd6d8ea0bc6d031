"""``ecindex bench``: measurements that anyone can repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.common import WRONG, echo_json, reported, tell
from streams.cli.options import AsJson
from streams.cli.start import interruptible

bench_app = typer.Typer(no_args_is_help=True, help="Measurements that anyone can repeat.")


@bench_app.command("fold")
def bench_fold(
    count: Annotated[int, typer.Option("--events", min=10_000, metavar="N")] = 1_200_000,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N")] = 5,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure order events a second and core through the whole worker path."""
    with reported():
        from streams.bench.fold_bench import FoldBench, run_fold

        interruptible()
        result = run_fold(FoldBench(count=count, runs=runs), tell)
    if as_json:
        echo_json(result)
    else:
        typer.echo(f"median {result['median']:,} {result['unit']}, RSS {result['rss_mb']} MB")


@bench_app.command("board")
def bench_board(
    count: Annotated[int, typer.Option("--events", min=10_000, metavar="N")] = 1_200_000,
    runs: Annotated[
        int, typer.Option("--runs", min=1, metavar="N", help="Runs with readers; as many without.")
    ] = 5,
    clients: Annotated[
        int, typer.Option("--clients", min=1, max=1_000, metavar="N", help="Readers of the page.")
    ] = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure what readers of the live page cost the worker, and whether each saw the last state."""
    with reported():
        from streams.bench.board_bench import BoardBench, run_board_bench

        interruptible()
        result = run_board_bench(
            BoardBench(count=count, runs=runs, clients=clients),
            tell,
        )
    if as_json:
        echo_json(result)
    else:
        typer.echo(
            f"median {result['median']} {result['unit']}, board {result['rss_mb']} MB, "
            f"{result['missed']} missed the last state"
        )
    raise typer.Exit(WRONG if result["missed"] else 0)


@bench_app.command("shifts")
def bench_shifts(
    years: Annotated[
        float, typer.Option("--series-years", min=5, metavar="N", help="For each configuration.")
    ] = 300.0,
    delay_series: Annotated[
        int,
        typer.Option(
            "--delay-series", min=10, metavar="N", help="For each rate, factor and weight."
        ),
    ] = 150,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Default: random.")
    ] = None,
    nab: Annotated[
        Path | None,
        typer.Option(
            "--nab",
            metavar="DIR",
            file_okay=False,
            exists=True,
            help="NAB's CSVs and windows.json.",
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure days between false shift pages and seconds until a true one, on simulated series."""
    with reported():
        from streams.bench.shift_bench import ShiftsBench, run_shifts

        interruptible()
        result = run_shifts(
            ShiftsBench(series_years=years, delay_series=delay_series, seed=seed, nab=nab),
            tell,
        )
    if as_json:
        echo_json(result)
    else:
        typer.echo(f"mean {result['median']} {result['unit']}; budget {result['budget_days']:g}")
    raise typer.Exit(0 if result["within_budget"] else WRONG)


@bench_app.command("chaos")
def bench_chaos(
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N")] = 5,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Seed of the first run.")
    ] = 1,
    count: Annotated[int, typer.Option("--events", min=20_000, metavar="N")] = 200_000,
    *,
    as_json: AsJson = False,
) -> None:
    """Kill and freeze workers, the broker and its topics under load, then audit the result."""
    with reported():
        from streams.bench.chaos_bench import ChaosBench, run_chaos

        interruptible()
        result = run_chaos(ChaosBench(runs=runs, seed=seed, events=count), tell)
    if as_json:
        echo_json(result)
    else:
        typer.echo(f"{runs - result['failed']} of {runs} mixes exact")
    raise typer.Exit(WRONG if result["failed"] else 0)
