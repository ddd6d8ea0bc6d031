"""Command line: arguments only; each command calls into streams.ops.

Exit codes: 0 ok, 1 something is wrong, 2 usage or settings.

A command imports what it runs when it runs: Faust and its kin take two seconds to import, which
`--help` need not pay and `demo` pays in its workers, while Kafka starts.
"""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from streams.ops.dead_letters import Selection
    from streams.ops.topics import Difference, Report
    from streams.ops.up import LocalIndex
    from streams.settings import Settings

WRONG, USAGE = 1, 2
LOCAL_EXTRA = ("jgo", "psutil")
"""Packages of the extra `local`, which a production machine does without."""

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
Arrival = Annotated[
    Literal["broker", "producer"] | None,
    typer.Option(
        "--arrival",
        help="Whose clock stamps the inputs; producer where old data is imported.",
    ),
]

WorkerUrls = Annotated[
    list[str] | None,
    typer.Option("--worker", metavar="URL", help="A worker's metrics address; repeatable."),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="INSTANT", help="Set aside then or later.")
]
Reason = Annotated[str | None, typer.Option("--reason", metavar="REASON", help="Only of this.")]
SourceTopic = Annotated[
    str | None, typer.Option("--topic", metavar="TOPIC", help="Only of this input.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N")]
InputPartitions = Annotated[
    int, typer.Option("--inputs", min=1, max=1000, metavar="N", help="Partitions of each input.")
]
DURATION_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}

# A pretty traceback is for the author of a script; what a bug prints here goes into a log.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics and their configs.")
app.add_typer(topics_app, name="topics")
bench_app = typer.Typer(no_args_is_help=True, help="Measurements that anyone can repeat.")
app.add_typer(bench_app, name="bench")
letters_app = typer.Typer(no_args_is_help=True, help="Records that break the contract.")
app.add_typer(letters_app, name="dead-letters")
late_app = typer.Typer(no_args_is_help=True, help="Events that came later than grace.")
app.add_typer(late_app, name="late")


@app.callback()
def root() -> None:
    """ecindex: a live, exact, revisable e-commerce index."""


@contextmanager
def reported() -> Iterator[None]:
    """Turn what a command may fail with into a message on stderr and an exit code."""
    from streams.ops.errors import OperationError
    from streams.settings import SettingsError

    try:
        yield
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from error
    except OperationError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(WRONG) from error
    except ModuleNotFoundError as error:
        if error.name not in LOCAL_EXTRA:
            raise
        typer.echo(f"error: {error}; install the extra: pip install 'ecindex[local]'", err=True)
        raise typer.Exit(WRONG) from error


def settings_of(config: Path | None, **overrides: Any) -> Settings:
    """Settings of file, environment and the options given; `a__b` stands for `a.b`."""
    from streams.settings import load_settings

    return load_settings(
        config, {name.replace("__", "."): value for name, value in overrides.items()}
    )


def echo_json(value: Any) -> None:
    """Print one line of JSON."""
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())


@topics_app.command("create")
def topics_create(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    inputs: Inputs = None,
    arrival: Arrival = None,
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
    arrival: Arrival = None,
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


async def _create_topics(settings: Settings, inputs: int | None, arrival: Arrival) -> Report:
    from streams.ops import topics as topic_ops

    wanted = await topic_ops.plan_topics(settings, inputs=inputs, arrival=arrival)
    replicas = settings.topics.replication_factor
    return await topic_ops.create_topics(settings.kafka, wanted, replication_factor=replicas)


async def _check_topics(
    settings: Settings, inputs: int | None, arrival: Arrival
) -> list[Difference]:
    from streams.ops import topics as topic_ops

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
    wait_for_topics: Annotated[
        float,
        typer.Option(
            "--wait-for-topics", min=0, metavar="SECONDS", help="How long topics may be missing."
        ),
    ] = 0.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Run one worker of the consumer group until SIGTERM; start as many as you like."""
    from streams.ops import worker_process

    with reported():
        settings = settings_of(
            config,
            kafka__bootstrap_servers=bootstrap,
            redis__url=redis,
            metrics__port=metrics_port,
        )
        code = worker_process.run_worker(
            settings, as_json=as_json, wait_for_topics_s=wait_for_topics
        )
    raise typer.Exit(code)


@app.command("board")
def board_command(
    redis: RedisUrl = None,
    config: ConfigFile = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, metavar="PORT", help="0: any free port."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Serve the live page of what Redis holds until SIGTERM or Ctrl-C."""
    from streams.ops.board_command import run_board

    def on_listening(url: str) -> None:
        if as_json:
            echo_json({"board": url})
        else:
            typer.echo(f"board     {url}")

    with reported():
        settings = settings_of(config, redis__url=redis, board__port=port)
        asyncio.run(run_board(settings, on_listening))


@app.command("audit")
def audit_command(
    bootstrap: Bootstrap = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    market: Annotated[
        list[str] | None, typer.Option("--market", metavar="CODE", help="Only this; repeatable.")
    ] = None,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="SECONDS", help="For the workers to reach the log's end."),
    ] = 60.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Recompute everything from the log and compare it, to the last digit."""
    from streams.ops.audit.run import audit
    from streams.ops.progress import rich_progress

    with reported(), rich_progress() as progress:
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap, redis__url=redis)
        work = audit(settings, markets=market or (), wait_ms=int(wait * 1000), progress=progress)
        report = asyncio.run(work)
    if as_json:
        echo_json(report.as_json())
    else:
        typer.echo("\n".join(report.lines()))
    raise typer.Exit(0 if report.equal else WRONG)


@app.command("explain")
def explain_command(
    market: Annotated[str, typer.Argument(metavar="MARKET")],
    index: Annotated[str, typer.Argument(metavar="INDEX", help="As in docs/contract.md.")],
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="`all` for the market.")],
    window: Annotated[str, typer.Argument(metavar="WINDOW", help="1m, 5m, 1h, 24h or day.")],
    dimension: Annotated[
        str | None,
        typer.Option("--dimension", metavar="NAME", help="Where several have the member."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="AS_OF", help="As journaled until then; default: the newest."),
    ] = None,
    day: Annotated[
        str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="Of window `day`: which.")
    ] = None,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Explain a published number step by step and compute it again; exits with 1 if it differs."""
    from rich.console import Console

    from streams.ops.explain.gather import explain
    from streams.ops.explain.records import Asked
    from streams.ops.explain.show import show
    from streams.ops.progress import rich_progress

    with reported(), rich_progress() as progress:
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        at_ms, on = _instant("--at", at), _day("--day", day)
        asked = Asked(market, index, member, window, dimension, at_ms, on)
        explanation = asyncio.run(explain(settings, asked, progress))
    if as_json:
        echo_json(explanation)
    else:
        show(explanation, Console())
    raise typer.Exit(0 if explanation.equal else WRONG)


@app.command("export")
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
    """Write what is published as a table, with vintages, revisions and how to cite it."""
    from streams.ops.export.files import polars
    from streams.ops.export.run import STDOUT, Selection, export, read
    from streams.ops.progress import rich_progress

    if csv is None and parquet is None:
        raise typer.BadParameter("say --csv FILE, --parquet FILE or both")
    if parquet == STDOUT or (as_json and csv == STDOUT):
        raise typer.BadParameter("standard output is for the CSV alone; name a file")
    if what == "values" and (first or last):
        raise typer.BadParameter("--from and --to choose days; the newest windows have none")
    days = (_day("--from", first), _day("--to", last))
    selection = Selection(what, tuple(market or ()), *days)
    with reported(), rich_progress() as progress:
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        if parquet is not None:
            polars()  # before anything is read
        exported = asyncio.run(read(settings, selection, progress))
        files = export(exported, csv=csv, parquet=parquet)
    if as_json:
        echo_json(exported.summary(files))
        return
    named = ", ".join(map(str, files)) or "standard output"
    _tell(f"{len(exported.rows):,} rows to {named}\n{exported.citation.line}")


@app.command("doctor")
def doctor(
    bootstrap: Bootstrap = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    worker: WorkerUrls = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with this installation, and the command that mends it."""
    from streams.ops.doctor.run import diagnose

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap, redis__url=redis)
        diagnosis = asyncio.run(diagnose(settings, worker or ()))
    if as_json:
        echo_json(diagnosis.as_json())
    else:
        typer.echo("\n".join(diagnosis.lines()))
    raise typer.Exit(WRONG if diagnosis.wrong else 0)


@letters_app.command("list")
def dead_letters_list(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    since: Since = None,
    reason: Reason = None,
    topic: SourceTopic = None,
    limit: Limit = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """Records that break the contract, the newest last."""
    _list_letters("dead_letters", bootstrap, config, (since, reason, topic, limit), as_json=as_json)


@late_app.command("list")
def late_list(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    since: Since = None,
    topic: SourceTopic = None,
    limit: Limit = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """Events that came later than grace, the newest last."""
    _list_letters("late", bootstrap, config, (since, None, topic, limit), as_json=as_json)


@letters_app.command("replay")
def dead_letters_replay(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    since: Since = None,
    reason: Reason = None,
    topic: SourceTopic = None,
    limit: Limit = 50,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Also those whose copy became a dead letter.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to their topics once more, as they were."""
    from streams.ops.dead_letters import list_letters, replay, replayable

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        selection = _selection(since, reason, topic, limit)
        found = asyncio.run(list_letters(settings, settings.topics.dead_letters, selection))
        letters = replayable(found.letters, again=again)
        if letters and not yes:
            typer.echo("\n".join(letter.line() for letter in letters), err=True)
            typer.confirm(f"send these {len(letters)} again?", abort=True, err=True)
        done = asyncio.run(replay(settings, letters))
    if as_json:
        echo_json({"sent": done.sent, "left_out": done.left_out})
    else:
        typer.echo(f"sent {done.sent}; what is older than grace will be too late")
        typer.echo("".join(f"left out {n}: {why}\n" for why, n in done.left_out.items()), nl=False)
    raise typer.Exit(WRONG if done.left_out else 0)


@letters_app.command("release")
def dead_letters_release(
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    partition: Annotated[int, typer.Argument(metavar="PARTITION", min=0)],
    worker: WorkerUrls = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let a halted source partition go on, at whichever of the workers given owns it."""
    from streams.ops.workers_http import release

    with reported():
        owner = asyncio.run(release(worker or (), topic, partition))
    if as_json:
        echo_json({"released": f"{topic}-{partition}", "worker": owner})
    else:
        typer.echo(f"{topic}-{partition} goes on at {owner}")


def _list_letters(
    which: str,
    bootstrap: str | None,
    config: Path | None,
    chosen: tuple[str | None, str | None, str | None, int],
    *,
    as_json: bool,
) -> None:
    from streams.ops.dead_letters import list_letters

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        topic = getattr(settings.topics, which)
        listing = asyncio.run(list_letters(settings, topic, _selection(*chosen)))
    if as_json:
        echo_json(listing.as_json())
    else:
        typer.echo("\n".join(listing.lines()))


def _selection(since: str | None, reason: str | None, topic: str | None, limit: int) -> Selection:
    from streams.ops.dead_letters import Selection

    return Selection(_instant("--since", since), reason, topic, limit)


def _day(option: str, text: str | None) -> str | None:
    """A local day, checked."""
    from streams.index.panes import day_name, day_number

    try:
        named = None if text is None else day_name(day_number(text))
    except ValueError:
        named = None
    if named != text:
        raise typer.BadParameter(f"{text!r}; expected YYYY-MM-DD", param_hint=option)
    return text


def _instant(option: str, text: str | None) -> int | None:
    """Epoch ms of an option; raises SettingsError."""
    from streams.index.instants import parse_instant
    from streams.settings import Problem, SettingsError

    instant_ms = None if text is None else parse_instant(text)
    if text is not None and instant_ms is None:
        expected = "an instant as 2026-11-24T09:54:00Z"
        raise SettingsError([Problem(option, repr(text), "command line", expected)])
    return instant_ms


@bench_app.command("fold")
def bench_fold(
    count: Annotated[int, typer.Option("--events", min=10_000, metavar="N")] = 1_200_000,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N")] = 5,
    *,
    as_json: AsJson = False,
) -> None:
    """Order events a second and core through the whole worker path."""
    with reported():
        from streams.ops.bench.fold import FoldBench, run_fold

        result = run_fold(
            FoldBench(count=count, runs=runs), lambda text: typer.echo(text, err=True)
        )
    if as_json:
        echo_json(result)
    else:
        typer.echo(f"median {result['median']:,} {result['unit']}, RSS {result['rss_mb']} MB")


@bench_app.command("board")
def bench_board(
    count: Annotated[int, typer.Option("--events", min=10_000, metavar="N")] = 1_200_000,
    runs: Annotated[
        int, typer.Option("--runs", min=1, metavar="N", help="With readers, and as many without.")
    ] = 5,
    clients: Annotated[
        int, typer.Option("--clients", min=1, max=1_000, metavar="N", help="Readers of the page.")
    ] = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """What readers of the live page cost the worker, and whether each saw the last state."""
    with reported():
        from streams.ops.bench.board import BoardBench, run_board_bench

        result = run_board_bench(
            BoardBench(count=count, runs=runs, clients=clients),
            lambda text: typer.echo(text, err=True),
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
        float, typer.Option("--series-years", min=5, metavar="N", help="Of each configuration.")
    ] = 300.0,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Default: a fresh one.")
    ] = None,
    nab: Annotated[
        Path | None,
        typer.Option(
            "--nab", metavar="DIR", file_okay=False, exists=True, help="NAB's CSVs, windows.json."
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Days between false shift pages, and minutes until a true one, on simulated series."""
    with reported():
        from streams.ops.bench.shifts import ShiftsBench, run_shifts

        result = run_shifts(
            ShiftsBench(series_years=years, seed=seed, nab=nab),
            lambda text: typer.echo(text, err=True),
        )
    if as_json:
        echo_json(result)
    else:
        typer.echo(f"mean {result['median']} {result['unit']}; budget {result['budget_days']:g}")
    raise typer.Exit(0 if result["within_budget"] else WRONG)


@bench_app.command("chaos")
def bench_chaos(
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the first run.")] = 1,
    count: Annotated[int, typer.Option("--events", min=20_000, metavar="N")] = 200_000,
    *,
    as_json: AsJson = False,
) -> None:
    """Kill and freeze workers, the broker and its topics under load; judge what is left."""
    with reported():
        from streams.ops.bench.chaos import ChaosBench, run_chaos

        result = run_chaos(
            ChaosBench(runs=runs, seed=seed, events=count), lambda text: typer.echo(text, err=True)
        )
    if as_json:
        echo_json(result)
    else:
        typer.echo(f"{runs - result['failed']} of {runs} mixes exact")
    raise typer.Exit(WRONG if result["failed"] else 0)


@app.command()
def up(
    config: ConfigFile = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", file_okay=False, help="Kept, and gone on with by a later run."
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option("--workers", min=0, max=64, metavar="N", help="0: only Kafka, Redis, topics."),
    ] = 1,
    inputs: InputPartitions = 8,
    notify: Annotated[
        str | None,
        typer.Option("--notify", metavar="URL", help="Where Alertmanager posts notifications."),
    ] = None,
    *,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Also Prometheus, with the rules and alerts.")
    ] = False,
    alertmanager: Annotated[
        bool, typer.Option("--alertmanager", help="Also Prometheus and Alertmanager.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run Kafka, Redis and workers on this machine, on loopback, until SIGTERM or Ctrl-C."""
    from streams.ops.progress import rich_progress

    def on_ready(index: LocalIndex) -> None:
        if as_json:
            echo_json(index.addresses)
        else:
            typer.echo(index.summary())

    with reported():
        from streams.ops import up as local

        settings = settings_of(config)
        options = local.UpOptions(
            directory, workers, inputs, prometheus, alertmanager or notify is not None, notify
        )
        with rich_progress() as progress:
            asyncio.run(
                local.up(settings, options, on_ready=on_ready, tell=_tell, progress=progress)
            )


@app.command("demo")
def run_demo(
    config: ConfigFile = None,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="As 90s, 5m or 1h; until Ctrl-C if absent."),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", metavar="EV/S", help="Orders and payments a second.")
    ] = 100.0,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, metavar="N")] = 1,
    inputs: InputPartitions = 8,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", file_okay=False, help="Keep all data there."),
    ] = None,
    markets: Annotated[
        str | None, typer.Option("--markets", metavar="PK,BD,..", help="Default: all simulated.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Show it all on this machine: Kafka, Redis, workers, simulated shops with six weeks of history.

    Announces a jump and an outage, plants them after five minutes, and tells when they are found, what
    explains them, and when they are over: 16 minutes, or up to 7 more.
    """
    from rich.console import Console

    from streams.ops.progress import rich_progress

    for_s, shown = _seconds("--for", duration), _listed(markets)
    with reported():
        from streams.ops.demo import demo
        from streams.ops.demo_plan import DemoOptions
        from streams.ops.up import UpOptions

        options = DemoOptions(rate, shown, seed, for_s)
        work = UpOptions(keep, workers, inputs)
        settings, console = settings_of(config), Console(stderr=as_json)
        with rich_progress() as progress:
            snapshots = asyncio.run(
                demo(settings, work, options, console=console, tell=_tell, progress=progress)
            )
    if as_json:
        typer.echo(snapshots)


@app.command("show")
def show_markets(
    market: Annotated[
        str | None, typer.Argument(metavar="[MARKET]", help="Default: all that are published.")
    ] = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Again each second until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the current values as Redis has them; exits with 1 unless every market is live."""
    from rich.console import Console

    from streams.ops import show_command

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


def _seconds(option: str, text: str | None) -> float | None:
    """Seconds of `90s`, `5m`, `1h` or a plain number."""
    if text is None:
        return None
    unit = DURATION_UNITS_S.get(text[-1:])
    try:
        seconds = float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise typer.BadParameter(
            f"{text!r}; expected a duration as 90s, 5m or 1h", param_hint=option
        )
    return seconds


def _listed(text: str | None) -> tuple[str, ...]:
    """Parts of `PK,BD`."""
    return () if text is None else tuple(part.strip() for part in text.split(","))


def _tell(text: str) -> None:
    """What a person should know while a command runs."""
    typer.echo(text, err=True)


def _show_differences(differences: Sequence[Difference]) -> None:
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
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="As 90s, 5m or 1h; until Ctrl-C if absent."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    backfill: Annotated[
        str | None,
        typer.Option(
            "--backfill",
            metavar="DURATION",
            help="First send this much history; not with --seed-history to workers that already read.",
        ),
    ] = None,
    seed_history: Annotated[
        int,
        typer.Option(
            "--seed-history",
            min=0,
            max=52,
            metavar="WEEKS",
            help="First tell the index what these shops sold in the hours of so many weeks.",
        ),
    ] = 0,
    markets: Annotated[
        str | None, typer.Option("--markets", metavar="PK,BD,..", help="Default: all.")
    ] = None,
    season: Annotated[
        Literal["flat", "week", "year"],
        typer.Option("--season", help="Same at any time, by the hour, also by the month."),
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
    from streams.ops.simulate_options import ShopOptions
    from streams.ops.simulate_profile import load_profile
    from streams.ops.simulate_run import Planted, simulate_command

    for_s, backfill_s = _seconds("--for", duration), _seconds("--backfill", backfill) or 0.0
    with reported():
        summary = asyncio.run(
            simulate_command(
                settings_of(config, kafka__bootstrap_servers=bootstrap),
                load_profile(profile),
                ShopOptions(
                    seed=seed,
                    rate_per_s=rate,
                    markets=_listed(markets),
                    season=season,
                    duplicates=duplicates,
                    out_of_order=out_of_order,
                    out_of_order_max_s=out_of_order_max,
                    lag_scale=lag_scale,
                ),
                Planted(tuple(shift or ()), tuple(outage or ())),
                backfill_s=backfill_s,
                for_s=for_s,
                seed_weeks=seed_history,
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
        Literal["olist", "online-retail", "csv"],
        typer.Argument(help="What the files are; csv: columns named as in the contract."),
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
    from streams.ops.importer import import_command

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


@app.command("seed")
def seed_history(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".csv, .csv.gz or .parquet: market, hour, [dimension, member,] and counts.",
        ),
    ],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Start the expectation warm with hourly counts of a warehouse: six weeks or more."""
    from streams.ops.seeding import seed

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        seeded = asyncio.run(seed(settings, file))
    if as_json:
        echo_json(seeded)
        return
    for each in seeded:
        typer.echo(f"{each.market}: {each.hours} hours, {each.start} .. {each.end}")
        typer.echo(f"  gives {', '.join(each.given)}")
        if each.unknown:
            typer.echo(f"  counted as `other`: {', '.join(each.unknown)}")


@app.command("expect")
def expect_factor(
    market: Annotated[str, typer.Argument(metavar="MARKET")],
    member: Annotated[
        str, typer.Argument(metavar="MEMBER", help="all, or as category:books, region:punjab.")
    ],
    start: Annotated[
        str, typer.Argument(metavar="FROM", help="Local date, or a whole hour in RFC 3339.")
    ],
    end: Annotated[str, typer.Argument(metavar="TO", help="The same, exclusive.")],
    factor: Annotated[
        str,
        typer.Argument(
            metavar="FACTOR",
            help="Times the usual; `unknown`: learn nothing from it; `none`: take it back.",
        ),
    ],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say that an event multiplies demand: counts at once, and is not learnt as usual."""
    from streams.ops.seeding import expect

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        said = asyncio.run(expect(settings, market, member, start, end, factor))
    if as_json:
        echo_json(said)
    else:
        told = factor if said.factor is None else f"{said.factor:g} times the usual"
        typer.echo(
            f"{said.market} {said.dimension} {said.member}, {said.start} .. {said.end}: {told}"
        )


def main() -> None:
    """Entry point of the ``ecindex`` script."""
    # What a command imports stays: looking for garbage among it takes a twentieth of a start.
    gc.set_threshold(50_000)
    app()


if __name__ == "__main__":
    main()
