"""``ecindex answer``: what an operator says of an incident."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from streams.cli.common import echo_json, reported, run, settings_of
from streams.cli.options import AsJson, Bootstrap, ConfigFile

_KINDS = {
    "ack": "acknowledged",
    "expected": "expected",
    "false-alarm": "false_alarm",
    "note": "note",
}


def answer_incident(
    incident: Annotated[
        str, typer.Argument(metavar="INCIDENT", help="MARKET-YYYYMMDDTHHMM-up or -down.")
    ],
    kind: Annotated[
        Literal["ack", "expected", "false-alarm", "note"],
        typer.Argument(help="What to say of it."),
    ],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Why, for others.")
    ] = None,
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="TIME",
            help=(
                "Of `expected`: an instant such as 2026-11-30T20:00+05:00 or 2026-11-30T15:00Z, at "
                "most 14 days ahead; default: in 6 hours."
            ),
        ),
    ] = "",
    factor: Annotated[
        str | None,
        typer.Option(
            "--factor",
            metavar="FACTOR",
            help="Of `expected`: multiple of demand, or `unknown`; default: as measured.",
        ),
    ] = None,
    member: Annotated[
        str,
        typer.Option(
            "--member",
            metavar="MEMBER",
            help="Of `expected`: the factor's series, `all` or dimension:member.",
        ),
    ] = "",
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="NAME", help="Who says it; default: your user name."),
    ] = None,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Take this kind of answer back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer an incident: acknowledge it, call it expected or a false alarm, or note something."""
    import pwd
    from os import getuid

    from streams.operate.answering import answer_command, factor_of
    from streams.publish.answer_requests import AnswerRequest

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        request = AnswerRequest(
            incident, _KINDS[kind], undo, text, until, factor_of(factor), member
        )
        given, effect = run(answer_command(settings, request, by or pwd.getpwuid(getuid()).pw_name))
    if as_json:
        echo_json(given._asdict())
        return
    typer.echo(f"{given.incident}: {kind}{' taken back' if undo else ''}, by {given.by}")
    for line in effect:
        typer.echo(f"  {line}")
