"""No document says one thing twice: two merges that both kept a row left two texts that differ."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
SENTENCE_WORDS, LINE_CHARACTERS = 4, 25
_TITLE = re.compile(r"\s*- \*\*(.+?)\*\*")


def repetitions(text: str) -> list[str]:
    """Rows with one key in a table, bullets with one title under a heading, lines that come twice."""
    found, rows, titles, before = [], set(), set(), ["", ""]
    for line in text.splitlines():
        rows = rows if line.startswith("|") else set()
        key = _title_of_row(line)
        if key in rows:
            found.append(f"row: {key[0]}")
        if line.startswith("|"):
            rows.add(key)
        titles = set() if line.startswith("#") else titles
        title = _TITLE.match(line)
        if title is not None and title[1] in titles:
            found.append(f"bullet: {title[1]}")
        titles |= {title[1]} if title is not None else set()
        content = line.strip()
        prose = len(content) >= LINE_CHARACTERS and not content.startswith("|")
        if prose and any(other.endswith(content) or _begins(content, other) for other in before):
            found.append(f"line: {content}")
        before = [before[1], content]
    return found


def _title_of_row(line: str) -> tuple[str, ...]:
    cells = [cell.strip() for cell in line.strip("|").split(" | ")]
    # A short key, as a topic's name, may stand in two rows that differ in what follows it.
    return tuple(cells[:1] if len(cells[0].split()) >= SENTENCE_WORDS else cells[:3])


def _begins(content: str, other: str) -> bool:
    return len(other) >= LINE_CHARACTERS and content.startswith(other)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_stands_twice_in_a_page(page):
    assert repetitions(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("| a | b |\n|---|---|\n| it is so often | 1 |\n| it is so often | 2 |", 1),
        ("| a | b | c |\n|---|---|---|\n| x | y | 1 |\n| x | y | 2 |\n| x | y | 1 |", 1),
        ("| it is so often | 1 |\n\n| it is so often | 2 |", 0),
        ("## A\n- **Late.** One.\n- **Late.** Two.\n## B\n- **Late.** Three.", 1),
        (
            "- some orders\n  are not remembered (test_a.py).\n  are not remembered (test_a.py). Nor",
            1,
        ),
        ("- as said:\n- as said:", 0),
    ],
)
def test_repetitions_are_found(text, found):
    assert len(repetitions(text)) == found
