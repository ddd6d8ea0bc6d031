"""Commands about definitions: which labels are which member, shown, compared, changed and undone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.common import echo_json, reported, run, settings_of
from streams.cli.options import AsJson, Bootstrap, ConfigFile

definitions_app = typer.Typer(no_args_is_help=True, help="Which labels are which member.")

Code = Annotated[str, typer.Argument(metavar="MARKET")]
DocumentFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A document as `show` writes it.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.")]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who changes it; default: your user name."),
]


@definitions_app.callback()
def definitions() -> None:
    """Which labels are which member."""


def _author(by: str | None) -> str:
    import pwd
    from os import getuid

    return by or pwd.getpwuid(getuid()).pw_name


@definitions_app.command("show")
def show_document(
    market: Code,
    version: Annotated[
        int | None,
        typer.Option("--version", metavar="N", help="A version of before; default: in force."),
    ] = None,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
) -> None:
    """Print a market's definitions as a file to edit."""
    from streams.operate.defining import show_definitions

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        text = run(show_definitions(settings, market, version))
    typer.echo(text, nl=False)


@definitions_app.command("check")
def check_document(file: DocumentFile) -> None:
    """Say what is wrong with a file; it asks no server."""
    from streams.operate.definitions_file import read_definitions_file

    with reported():
        document = read_definitions_file(file).document
    members = sum(len(found) for _, found in document.by_dimension())
    typer.echo(f"{document.market}: {members} members, nothing is wrong")


@definitions_app.command("diff")
def diff_document(
    file: DocumentFile,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say which members a file changes, and by how many orders of the last 28 days."""
    from streams.operate.defining import diff_definitions
    from streams.operate.definition_lines import diff_lines
    from streams.operate.definitions_file import read_definitions_file

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        diff = run(diff_definitions(settings, read_definitions_file(file)))
    if as_json:
        echo_json(diff._asdict())
        return
    for line in diff_lines(diff):
        typer.echo(line)


@definitions_app.command("apply")
def apply_document(
    file: DocumentFile,
    reason: Reason,
    by: By = None,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Put a file's definitions into force, unless others changed them since it was written."""
    from streams.operate.defining import apply_definitions
    from streams.operate.definitions_file import read_definitions_file

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        file_read = read_definitions_file(file)
        applied = run(apply_definitions(settings, file_read, _author(by), reason.strip()))
    if as_json:
        echo_json(applied._asdict())
        return
    typer.echo(f"{applied.market}: version {applied.version}, built upon {applied.base}")


@definitions_app.command("undo")
def undo_document(
    market: Code,
    reason: Reason,
    by: By = None,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Put the definitions before those in force into force again; done twice, nothing is undone."""
    from streams.operate.defining import undo_definitions

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        applied = run(undo_definitions(settings, market, _author(by), reason.strip()))
    if as_json:
        echo_json(applied._asdict())
        return
    typer.echo(f"{applied.market}: version {applied.version}, built upon {applied.base}")


@definitions_app.command("history")
def document_history(
    market: Code,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List who changed the definitions when, and why; also what did not come into force."""
    from streams.operate.defining import definitions_history
    from streams.operate.definition_lines import history_lines

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        lines = run(definitions_history(settings, market))
    if as_json:
        echo_json(lines)
        return
    for line in history_lines(market, lines):
        typer.echo(line)


@definitions_app.command("propose")
def propose_aliases(
    market: Code,
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the largest labels that no member has, each with the member that it is written like."""
    from streams.operate.definition_lines import proposed_lines
    from streams.operate.proposing import propose_labels

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        labels = run(propose_labels(settings, market))
    if as_json:
        echo_json([each._asdict() for each in labels])
        return
    for line in proposed_lines(market, labels):
        typer.echo(line)
