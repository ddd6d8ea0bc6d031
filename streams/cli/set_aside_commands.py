"""``ecindex dead-letters`` and ``ecindex late``: records and events that were set aside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.common import WRONG, echo_json, reported, run, settings_of, tell
from streams.cli.options import AsJson, Bootstrap, ConfigFile, WorkerUrls, instant_of

if TYPE_CHECKING:
    from streams.operate.dead_letters import DeadLetterSelection

Since = Annotated[
    str | None,
    typer.Option("--since", metavar="INSTANT", help="Only those set aside then or later."),
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only those with this reason.")
]
SourceTopic = Annotated[
    str | None, typer.Option("--topic", metavar="TOPIC", help="Only those of this input.")
]
Earlier = Annotated[
    bool,
    typer.Option(
        "--earlier", help="Also those of an earlier log: their input was deleted and created again."
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N")]

dead_letters_app = typer.Typer(no_args_is_help=True, help="Records that break the contract.")
late_app = typer.Typer(no_args_is_help=True, help="Events that came later than the grace.")


@dead_letters_app.command("list")
def dead_letters_list(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    since: Since = None,
    reason: Reason = None,
    topic: SourceTopic = None,
    limit: Limit = 50,
    *,
    earlier: Earlier = False,
    as_json: AsJson = False,
) -> None:
    """List records that break the contract, the newest last."""
    _list_set_aside(
        "dead_letters", bootstrap, config, (since, reason, topic, limit, earlier), as_json=as_json
    )


@late_app.command("list")
def late_list(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    since: Since = None,
    topic: SourceTopic = None,
    limit: Limit = 50,
    *,
    earlier: Earlier = False,
    as_json: AsJson = False,
) -> None:
    """List events that came later than the grace, the newest last."""
    _list_set_aside(
        "late", bootstrap, config, (since, None, topic, limit, earlier), as_json=as_json
    )


@dead_letters_app.command("replay")
def dead_letters_replay(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    since: Since = None,
    reason: Reason = None,
    topic: SourceTopic = None,
    limit: Limit = 50,
    *,
    earlier: Earlier = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also those whose copy became a dead letter.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to their topics again: key, value and an import's stamp as they were."""
    from streams.operate.dead_letters import list_set_aside, replay, replayable

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        selection = _selection(since, reason, topic, limit, earlier)
        found = run(list_set_aside(settings, settings.topics.dead_letters, selection))
        for line in (*found.earlier_lines(), *found.unreadable.summary().lines()):
            tell(line)
        dead_letters = replayable(found.dead_letters, again=again)
        if dead_letters and not yes:
            typer.echo("\n".join(dead_letter.line() for dead_letter in dead_letters), err=True)
            typer.confirm(f"send these {len(dead_letters)} again?", abort=True, err=True)
        done = run(replay(settings, dead_letters))
    if as_json:
        echo_json({"sent": done.sent, "left_out": done.left_out})
    else:
        typer.echo(f"sent {done.sent}; events older than the grace will be too late")
        typer.echo("".join(f"left out {n}: {why}\n" for why, n in done.left_out.items()), nl=False)
    raise typer.Exit(WRONG if done.left_out else 0)


@dead_letters_app.command("release")
def dead_letters_release(
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    partition: Annotated[int, typer.Argument(metavar="PARTITION", min=0)],
    worker: WorkerUrls = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let a halted source partition continue, at the worker given that owns it."""
    from streams.operate.workers_http import release

    with reported():
        owner = run(release(worker or (), topic, partition))
    if as_json:
        echo_json({"released": f"{topic}-{partition}", "worker": owner})
    else:
        typer.echo(f"{topic}-{partition} continues at {owner}")


def _list_set_aside(
    which: str,
    bootstrap: str | None,
    config: Path | None,
    chosen: tuple[str | None, str | None, str | None, int, bool],
    *,
    as_json: bool,
) -> None:
    from streams.operate.dead_letters import list_set_aside

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        topic = getattr(settings.topics, which)
        listing = run(list_set_aside(settings, topic, _selection(*chosen)))
    if as_json:
        echo_json(listing.as_json())
    else:
        typer.echo("\n".join(listing.lines()))


def _selection(
    since: str | None,
    reason: str | None,
    topic: str | None,
    limit: int,
    earlier: bool,  # noqa: FBT001 - one option of many
) -> DeadLetterSelection:
    from streams.operate.dead_letters import DeadLetterSelection

    return DeadLetterSelection(instant_of("--since", since), reason, topic, limit, earlier)
