"""Command line: arguments only; each command calls into streams.ops.

Exit codes: 0 ok, 1 something is wrong, 2 usage or settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from streams.ops import topics as topic_ops
from streams.ops import worker_process
from streams.ops.errors import OperationError
from streams.ops.import_files import Source
from streams.ops.importer import import_command
from streams.ops.simulate_options import Season, ShopOptions
from streams.ops.simulate_profile import load_profile
from streams.ops.simulate_run import Planted, simulate_command
from streams.settings import Settings, SettingsError, load_settings

WRONG, USAGE = 1, 2

Bootstrap = Annotated[
    str | None, typer.Option("--bootstrap", metavar="HOST:PORT", help="Kafka; comma separated.")
]
RedisUrl = Annotated[
    str | None, typer.Option("--redis", metavar="URL", help="redis://host:port/db")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file of settings.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: the last line is JSON.")]
Inputs = Annotated[
    int | None,
    typer.Option("--inputs", min=1, metavar="N", help="Also orders and payments, N partitions."),
]
ArrivalOption = Annotated[
    topic_ops.Arrival | None,
    typer.Option(
        "--arrival",
        help="Whose clock stamps the inputs; producer where old data is imported.",
    ),
]

app = typer.Typer(no_args_is_help=True, add_completion=False)
topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics and their configs.")
app.add_typer(topics_app, name="topics")
bench_app = typer.Typer(no_args_is_help=True, help="Measurements that anyone can repeat.")
app.add_typer(bench_app, name="bench")


@app.callback()
def root() -> None:
    """ecindex: a live, exact, revisable e-commerce index."""


@contextmanager
def reported() -> Iterator[None]:
    """Turn what a command may fail with into a message on stderr and an exit code."""
    try:
        yield
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from error
    except OperationError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(WRONG) from error


def settings_of(config: Path | None, **overrides: Any) -> Settings:
    """Settings of file, environment and the options given; `a__b` stands for `a.b`."""
    return load_settings(
        config, {name.replace("__", "."): value for name, value in overrides.items()}
    )


def echo_json(value: Any) -> None:
    """Print one line of JSON."""
    typer.echo(msgspec.json.encode(value).decode())


@topics_app.command("create")
def topics_create(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    inputs: Inputs = None,
    arrival: ArrivalOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Create the topics that are missing; change nothing that exists."""
    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        report = asyncio.run(_create_topics(settings, inputs, arrival))
    if as_json:
        echo_json(report)
    else:
        typer.echo("".join(f"created {name}\n" for name in report.created), nl=False)
        _show_differences(report.differences)
    raise typer.Exit(WRONG if report.differences else 0)


@topics_app.command("check")
def topics_check(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    inputs: Inputs = None,
    arrival: ArrivalOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List how topics differ from what is wanted, each with the command that mends it."""
    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        differences = asyncio.run(_check_topics(settings, inputs, arrival))
    if as_json:
        echo_json({"differences": differences})
    else:
        _show_differences(differences)
    raise typer.Exit(WRONG if differences else 0)


async def _create_topics(
    settings: Settings, inputs: int | None, arrival: topic_ops.Arrival | None
) -> topic_ops.Report:
    wanted = await topic_ops.plan_topics(settings, inputs=inputs, arrival=arrival)
    replicas = settings.topics.replication_factor
    return await topic_ops.create_topics(settings.kafka, wanted, replication_factor=replicas)


async def _check_topics(
    settings: Settings, inputs: int | None, arrival: topic_ops.Arrival | None
) -> list[topic_ops.Difference]:
    wanted = await topic_ops.plan_topics(settings, inputs=inputs, arrival=arrival)
    return await topic_ops.check_topics(settings.kafka, wanted)


@app.command()
def worker(
    bootstrap: Bootstrap = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", metavar="PORT", help="0: any free port.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Run one worker of the consumer group until SIGTERM; start as many as you like."""
    with reported():
        settings = settings_of(
            config,
            kafka__bootstrap_servers=bootstrap,
            redis__url=redis,
            metrics__port=metrics_port,
        )
        code = worker_process.run_worker(settings, as_json=as_json)
    raise typer.Exit(code)


@bench_app.command("fold")
def bench_fold(
    count: Annotated[int, typer.Option("--events", min=10_000, metavar="N")] = 1_200_000,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N")] = 5,
    *,
    as_json: AsJson = False,
) -> None:
    """Order events a second and core through the whole worker path."""
    from streams.ops.bench.fold import FoldBench, run_fold  # noqa: PLC0415 - needs the extra `local`

    with reported():
        result = run_fold(
            FoldBench(count=count, runs=runs), lambda text: typer.echo(text, err=True)
        )
    if as_json:
        echo_json(result)
    else:
        typer.echo(f"median {result['median']:,} {result['unit']}, RSS {result['rss_mb']} MB")


def _show_differences(differences: Sequence[topic_ops.Difference]) -> None:
    for difference in differences:
        typer.echo(str(difference))
    if not differences:
        typer.echo("topics are as wanted")


@app.command("simulate")
def simulate(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    rate: Annotated[
        float, typer.Option("--rate", help="Orders and payments a second, mean of a week.")
    ] = 50.0,
    for_s: Annotated[
        float | None, typer.Option("--for", min=0, metavar="SECONDS", help="Then stop.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    backfill: Annotated[
        float,
        typer.Option("--backfill", min=0, metavar="SECONDS", help="First send this much history."),
    ] = 0.0,
    markets: Annotated[
        str | None, typer.Option("--markets", metavar="PK,BD,..", help="Default: all.")
    ] = None,
    season: Annotated[
        Season, typer.Option("--season", help="Same at any time, by the hour, also by the month.")
    ] = "week",
    shift: Annotated[
        list[str] | None,
        typer.Option(
            "--shift",
            metavar="MARKET:CATEGORY:FACTOR:AFTER_S[:DURATION_S]",
            help="Plant a change of demand; category `all` is the whole market.",
        ),
    ] = None,
    outage: Annotated[
        list[str] | None,
        typer.Option("--outage", metavar="MARKET:AFTER_S:DURATION_S", help="Plant silence."),
    ] = None,
    duplicates: Annotated[
        float, typer.Option("--duplicates", help="Share of events sent twice.")
    ] = 0.0,
    out_of_order: Annotated[
        float, typer.Option("--out-of-order", help="Share of events sent late.")
    ] = 0.0,
    out_of_order_max: Annotated[
        float, typer.Option("--out-of-order-max", metavar="SECONDS", help="How late at most.")
    ] = 10.0,
    lag_scale: Annotated[
        float,
        typer.Option("--lag-scale", help="Shrinks the delays of cancels, deliveries, refunds."),
    ] = 1.0,
    profile: Annotated[
        Path | None, typer.Option("--profile", metavar="FILE", help="Instead of simulator.toml.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Send the events of simulated shops in PK, BD, LK, NP and MM until stopped."""
    with reported():
        summary = asyncio.run(
            simulate_command(
                settings_of(config, kafka__bootstrap_servers=bootstrap),
                load_profile(profile),
                ShopOptions(
                    seed=seed,
                    rate_per_s=rate,
                    markets=tuple(markets.split(",")) if markets else (),
                    season=season,
                    duplicates=duplicates,
                    out_of_order=out_of_order,
                    out_of_order_max_s=out_of_order_max,
                    lag_scale=lag_scale,
                ),
                Planted(tuple(shift or ()), tuple(outage or ())),
                backfill_s=backfill,
                for_s=for_s,
            )
        )
    if as_json:
        echo_json(summary)
    else:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.by_type.items())
        typer.echo(f"sent {summary.events:,} events in {summary.seconds:.1f} s: {kinds}")


@app.command("import")
def import_source(
    source: Annotated[
        Source, typer.Argument(help="What the files are; csv: columns named as in the contract.")
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files are.")],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    pause_after: Annotated[
        float, typer.Option("--pause-after", metavar="FRACTION", help="0..1 of the events.")
    ] = 0.5,
    pause_s: Annotated[
        float, typer.Option("--pause-s", min=0, metavar="SECONDS", help="Pause there this long.")
    ] = 0.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Send a data set's events with their own times, in event-time order."""
    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        summary = asyncio.run(
            import_command(settings, source, directory, pause_after=pause_after, pause_s=pause_s)
        )
    if as_json:
        echo_json(summary)
    else:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.by_type.items())
        typer.echo(f"sent {summary.events:,} events in {summary.seconds:.1f} s: {kinds}")
        typer.echo(f"occurred {summary.first_occurred_at} .. {summary.last_occurred_at}")
        for title, counts in (("left out", summary.skipped), ("filled in", summary.filled)):
            typer.echo("".join(f"{title}: {n:,} {why}\n" for why, n in counts.items()), nl=False)
    raise typer.Exit(0 if summary.complete else WRONG)


def main() -> None:
    """Entry point of the ``ecindex`` script."""
    app()
