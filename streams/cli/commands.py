"""Every command under its name, as one Typer application.

A command imports what it runs when it runs: Faust and its kin take two seconds to import, which
`--help` need not pay and `demo` pays in its workers, while Kafka starts.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from streams.cli import bench, letters, reading, running, sending, topics

# A pretty traceback is for the author of a script; what a bug prints here goes into a log.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": running.run_demo,
    "up": running.up,
    "worker": running.worker,
    "board": running.board_command,
    "show": reading.show_markets,
    "explain": reading.explain_command,
    "audit": reading.audit_command,
    "export": reading.export_command,
    "doctor": reading.doctor,
    "simulate": sending.simulate,
    "import": sending.import_source,
    "seed": sending.seed_history,
    "expect": sending.expect_factor,
}
"""In the order of `--help`."""
GROUPS = {
    "topics": topics.topics_app,
    "dead-letters": letters.letters_app,
    "late": letters.late_app,
    "bench": bench.bench_app,
}

for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


@app.callback()
def root() -> None:
    """ecindex: a live, exact, revisable e-commerce index."""
