"""Command line: arguments only; each command calls into streams.ops."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def root() -> None:
    """ecindex: a live, exact, revisable e-commerce index."""


def main() -> None:
    """Entry point of the ``ecindex`` script."""
    app()
