"""Every command under its name, as one Typer application.

A command imports its modules only when it runs. Faust and its dependencies take two seconds to import:
`--help` need not pay for that, and `demo` pays in its workers, while Kafka starts.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from streams.cli import (
    answer_commands,
    bench_commands,
    clock_commands,
    definitions_commands,
    door_commands,
    notify_commands,
    read_commands,
    rehearse_command,
    run_commands,
    send_commands,
    set_aside_commands,
    shift_commands,
    sources_commands,
    topic_commands,
)
from streams.index.definitions_switch import WORKERS_APPLY_DEFINITIONS

# A pretty traceback suits the author of a script. What a bug prints here goes into a log.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": run_commands.run_demo,
    "up": run_commands.up,
    "worker": run_commands.worker,
    "translate": run_commands.translate_command,
    "board": run_commands.board_command,
    "show": read_commands.show_markets,
    "explain": read_commands.explain_command,
    "audit": read_commands.audit_command,
    "export": read_commands.export_command,
    "doctor": read_commands.doctor,
    "rehearse": rehearse_command.rehearse,
    "simulate": send_commands.simulate,
    "import": send_commands.import_source,
    "seed": send_commands.seed_history,
    "expect": send_commands.expect_factor,
    "answer": answer_commands.answer_incident,
}
"""In the order of `--help`."""
GROUPS = {
    "door": door_commands.door_app,
    "notify": notify_commands.notify_app,
    "shifts": shift_commands.shifts_app,
    "clock": clock_commands.clock_app,
    "sources": sources_commands.sources_app,
    "topics": topic_commands.topics_app,
    "dead-letters": set_aside_commands.dead_letters_app,
    "late": set_aside_commands.late_app,
    "bench": bench_commands.bench_app,
}

if WORKERS_APPLY_DEFINITIONS:
    GROUPS["definitions"] = definitions_commands.definitions_app

for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


@app.callback()
def root() -> None:
    """ecindex: a live, exact, revisable e-commerce index."""
