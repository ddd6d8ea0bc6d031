"""Progress is lines in a log file and bars on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from streams.console.progress import rich_progress


def shown(*messages, terminal):
    out = io.StringIO()
    with rich_progress(Console(file=out, force_terminal=terminal, width=100)) as progress:
        for message in messages:
            progress(*message)
    return out.getvalue()


def test_without_a_terminal_each_text_is_one_line():
    text = shown(
        ("downloading [x]", 0, 9), ("downloading [x]", 9, 9), ("done", 0, 0), terminal=False
    )
    assert text == "downloading [x]\ndone\n"


def test_on_a_terminal_a_counted_text_is_a_bar():
    text = shown(("downloading [x]", 0, 9), ("downloading [x]", 9, 9), terminal=True)
    assert "downloading [x]" in text
    assert "9 of 9 MB" in text


def test_without_progress_nothing_is_shown():
    assert shown(terminal=True) == ""
    assert shown(terminal=False) == ""
