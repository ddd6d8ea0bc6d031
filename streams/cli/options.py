"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

Bootstrap = Annotated[
    str | None,
    typer.Option("--bootstrap", metavar="HOST:PORT", help="Kafka servers, separated by commas."),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis", metavar="URL", help="Redis: redis://, redis+sentinel:// or redis+cluster://."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file of settings.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON as the last line, for machines.")]
WorkerUrls = Annotated[
    list[str] | None,
    typer.Option("--worker", metavar="URL", help="A worker's metrics address; repeatable."),
]
INPUTS_MAX = 1_000
"""Partitions of an input. With the changelogs they are 4,000, of which each takes two of the 65,530 maps
of memory that Linux allows a broker. Kafka takes none back: 10^8, a slip of the hand, ended a broker."""
InputPartitions = Annotated[
    int,
    typer.Option("--inputs", min=1, max=INPUTS_MAX, metavar="N", help="Partitions of each input."),
]

DURATION_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(option: str, text: str | None) -> float | None:
    """Parse `90s`, `5m`, `1h` or a plain number into seconds."""
    if text is None:
        return None
    unit = DURATION_UNITS_S.get(text[-1:])
    try:
        seconds = float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise typer.BadParameter(
            f"{text!r}; expected a duration such as 90s, 5m or 1h", param_hint=option
        )
    return seconds


def parts_of(text: str | None) -> tuple[str, ...]:
    """Split `PK,BD` at its commas."""
    return () if text is None else tuple(part.strip() for part in text.split(","))


def day_of(option: str, text: str | None) -> str | None:
    """Check that an option is a local day, YYYY-MM-DD."""
    from streams.index.panes import day_name, day_number

    try:
        named = None if text is None else day_name(day_number(text))
    except ValueError:
        named = None
    if named != text:
        raise typer.BadParameter(f"{text!r}; expected YYYY-MM-DD", param_hint=option)
    return text


def instant_of(option: str, text: str | None) -> int | None:
    """Parse an instant into epoch ms. Raises SettingsError."""
    from streams.index.instants import typed_instant
    from streams.settings import Problem, SettingsError

    instant_ms = None if text is None else typed_instant(text)
    if text is not None and instant_ms is None:
        expected = "an instant such as 2026-11-24T09:54:00Z"
        raise SettingsError([Problem(option, repr(text), "command line", expected)])
    return instant_ms
