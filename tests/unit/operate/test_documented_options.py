"""Every ``ecindex`` command in README and docs/ is one that the command line understands.

tests/integration/test_documented_commands.py runs them, which takes minutes and is not done each time:
an option renamed in one place only was found days later.
"""

from __future__ import annotations

import re

import pytest
from support.documented import PAGES, ROOT, UsageError, blocks, filled_in, parse, spans


def lines_of(page, work):
    """Command lines of the blocks and the text of a page, from ``ecindex`` on."""
    for line in (line for lines in blocks(page) for line in lines):
        for part in re.split(r"&&|\||;", line):
            found = re.search(r"(?:^|\s)(ecindex\s.*)", part)
            if found is not None:
                yield found[1]
    for command in spans(page):
        yield filled_in(command, work)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_understood(page, tmp_path):
    (tmp_path / "DIR").mkdir()
    (tmp_path / "seed.csv").touch()
    for line in lines_of(page, tmp_path):
        try:
            parse(line)
        except UsageError as error:
            pytest.fail(f"{page.name}: {line}: {error.format_message()}")


@pytest.mark.parametrize(
    "line",
    [
        "ecindex simulate --seed-history --for 2s",
        "ecindex export days|values --csv x.csv",
        "ecindex show --wach",
        "ecindex bench board --events many",
    ],
)
def test_an_unknown_command_is_found(line):
    with pytest.raises(UsageError):
        parse(line)
