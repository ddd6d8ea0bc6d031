"""Commands that run until they are stopped: demo, up, worker, translate, board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.common import echo_json, reported, run, settings_of, tell
from streams.cli.options import (
    AsJson,
    Bootstrap,
    ConfigFile,
    InputPartitions,
    RedisUrl,
    parts_of,
    seconds_of,
)
from streams.cli.start import interruptible

if TYPE_CHECKING:
    from streams.local.local_index import LocalIndex


def run_demo(
    config: ConfigFile = None,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="90s, 5m or 1h; default: until Ctrl-C."),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", metavar="EV/S", help="Orders and payments a second.")
    ] = 100.0,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, metavar="N")] = 1,
    inputs: InputPartitions = 8,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", file_okay=False, help="Keep all data in this directory."
        ),
    ] = None,
    markets: Annotated[
        str | None, typer.Option("--markets", metavar="PK,BD,..", help="Default: all simulated.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine: Kafka, Redis, workers, simulated shops with six weeks of history.

    Announces a jump and an outage, plants them after five minutes, and reports when each is found, what
    explains it, and when it is over. It takes 16 minutes, sometimes up to 7 more.
    """
    from rich.console import Console

    from streams.console.progress import rich_progress

    for_s, shown = seconds_of("--for", duration), parts_of(markets)
    with reported():
        from streams.demo.demo import demo
        from streams.demo.demo_plan import DemoOptions
        from streams.local.local_index import UpOptions

        options = DemoOptions(rate, shown, seed, for_s)
        work = UpOptions(keep, workers, inputs)
        settings, console = settings_of(config), Console(stderr=as_json)
        with rich_progress() as progress:
            snapshots = run(
                demo(settings, work, options, console=console, tell=tell, progress=progress)
            )
    if as_json:
        typer.echo(snapshots)


def up(
    config: ConfigFile = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            file_okay=False,
            help="Keep all data here; a later run continues.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=0, max=64, metavar="N", help="0: only Kafka, Redis and topics."
        ),
    ] = 1,
    inputs: InputPartitions = 8,
    notify: Annotated[
        str | None,
        typer.Option("--notify", metavar="URL", help="Where Alertmanager posts notifications."),
    ] = None,
    *,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Also run Prometheus, with rules and alerts.")
    ] = False,
    alertmanager: Annotated[
        bool, typer.Option("--alertmanager", help="Also run Prometheus and Alertmanager.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run Kafka, Redis and workers on this machine, on loopback, until SIGTERM or Ctrl-C."""
    from streams.console.progress import rich_progress

    def on_ready(index: LocalIndex) -> None:
        if as_json:
            echo_json(index.addresses)
        else:
            typer.echo(index.summary())

    with reported():
        from streams.local import up as local
        from streams.local.local_index import UpOptions

        settings = settings_of(config)
        options = UpOptions(
            directory,
            workers,
            inputs,
            prometheus,
            alertmanager or notify is not None,
            notify,
        )
        with rich_progress() as progress:
            run(local.up(settings, options, on_ready=on_ready, tell=tell, progress=progress))


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
            "--wait-for-topics",
            min=0,
            metavar="SECONDS",
            help="How long to wait for missing topics.",
        ),
    ] = 0.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Run one worker of the consumer group until SIGTERM. You may start several."""
    from streams.operate import worker_process

    with reported():
        settings = settings_of(
            config,
            logs=True,
            kafka__bootstrap_servers=bootstrap,
            redis__url=redis,
            metrics__port=metrics_port,
        )
        interruptible()
        code = worker_process.run_worker(
            settings, as_json=as_json, wait_for_topics_s=wait_for_topics
        )
    raise typer.Exit(code)


def translate_command(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", metavar="PORT", help="0: any free port.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Translate the records of sources into events, until SIGTERM or Ctrl-C. You may start several."""

    def on_listening(url: str) -> None:
        if as_json:
            echo_json({"metrics": url})
        else:
            typer.echo(f"metrics   {url}")

    with reported():
        from streams.operate.translate_command import run_translate

        settings = settings_of(
            config, logs=True, kafka__bootstrap_servers=bootstrap, metrics__port=metrics_port
        )
        run(run_translate(settings, on_listening))


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
    """Serve the live page, from the values in Redis, until SIGTERM or Ctrl-C."""
    from streams.operate.board_command import run_board

    def on_listening(url: str) -> None:
        if as_json:
            echo_json({"board": url})
        else:
            typer.echo(f"board     {url}")

    with reported():
        settings = settings_of(config, logs=True, redis__url=redis, board__port=port)
        run(run_board(settings, on_listening))
