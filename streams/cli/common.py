"""What all commands share: settings, errors printed and turned into exit codes, JSON."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from streams.cli.start import interruptible

if TYPE_CHECKING:
    from streams.settings import Settings

T = TypeVar("T")

WRONG, USAGE = 1, 2
EXTRAS = {
    "jgo": "local",
    "psutil": "local",
    "aiosmtplib": "notify",
    "matplotlib": "notify",
    "slack_sdk": "notify",
}
"""Packages that not every machine needs, and the extra that brings each."""


@contextmanager
def reported() -> Iterator[None]:
    """Turn the errors that a command may raise into a message on stderr and an exit code."""
    from streams.console.errors import OperationError, WrongTopicsError
    from streams.settings import SettingsError

    try:
        yield
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from error
    except OperationError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(USAGE if isinstance(error, WrongTopicsError) else WRONG) from error
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name or "")
        if extra is None:
            raise
        typer.echo(f"error: {error}; install the extra: pip install 'ecindex[{extra}]'", err=True)
        raise typer.Exit(WRONG) from error


def settings_of(config: Path | None, *, logs: bool = False, **overrides: Any) -> Settings:
    """Load settings from file, environment and the options given; `a__b` stands for `a.b`.

    From then on nothing of what libraries log is shown, except at the log level `debug`.
    While a local index runs, a command that was not told which servers to ask says where its settings
    are: it would ask those at the default ports. ``logs``: not so, since stderr is for its log alone.
    """
    from streams.console.chatter import silence_libraries
    from streams.settings import ADDRESSES, elsewhere, load_settings

    settings = load_settings(
        config, {name.replace("__", "."): value for name, value in overrides.items()}
    )
    silence_libraries(but_show=settings.log.level == "debug")
    asked = tuple(n for n in ADDRESSES if n.replace(".", "__") in overrides and not logs)
    for file in elsewhere(settings, asked):
        option = f"--config {shlex.quote(str(file))}"
        tell(f"note: an index of `demo` or `up` runs here; ask it with {option}")
    return settings


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own; Ctrl-C cancels it."""
    interruptible()
    return asyncio.run(work)


def echo_json(value: Any) -> None:
    """Print one line of JSON."""
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())


def tell(text: str) -> None:
    """Print a line for the person at the terminal, on stderr."""
    typer.echo(text, err=True)
