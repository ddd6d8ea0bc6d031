"""docs/methodology.md: its examples are run, and it explains every index there is."""

import doctest
import re
from pathlib import Path

from streams.index.indices import SHOPPER_INDICES, live_entries
from streams.index.ledgers import book_entries
from streams.index.level import LEVEL
from streams.index.measured import MEASURED
from streams.index.partials import Layout
from tests.support.flow_harness import METHODOLOGY

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/methodology.md").read_text()


def test_the_worked_examples_hold(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = doctest.testfile(str(ROOT / "docs/methodology.md"), module_relative=False)
    assert found.attempted > 30
    assert found.failed == 0


def test_every_index_is_explained():
    layout = Layout(METHODOLOGY.markets["PK"])
    live, day = [1] * layout.live_width, [1] * layout.day_width
    names = {entry.name for entry in live_entries(layout, live, live)}
    names |= {entry.name for entry in book_entries(layout, day)} | MEASURED | {*SHOPPER_INDICES}
    names.add(LEVEL)
    assert not names - set(re.findall(r"`([a-z_]+)`", TEXT))
