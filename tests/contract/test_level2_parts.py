"""The parts of level 2 read what they share and return what they found; the market writes it.

Windows, days, closings, shoppers and the level index of a market all read its progress and its ledger.
When they also wrote there, the order in which a step called them decided what each of them saw.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FLOW = Path(__file__).parents[2] / "streams/flow"
PARTS = sorted(
    [*FLOW.glob("market_*.py"), FLOW / "inherited.py", FLOW / "entry_value.py", FLOW / "compile.py"]
)
CHANGING = {
    "add", "append", "clear", "discard", "extend", "pop", "popitem", "remove", "setdefault", "sort",
    "update",
}  # fmt: skip
OF_THE_MARKET = {"advance", "drain", "note_first", "note_live", "take_fence"}
"""Methods of the progress and of the ledger that only the market calls."""


def writes_beyond_itself(tree: ast.AST) -> Iterator[int]:
    """Lines that change an attribute of something held: ``self.a.b = ..``, ``self.a.b.clear()``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.Delete):
            written = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            written = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            call = node.func
            held = call.value
            taken = call.attr in OF_THE_MARKET and isinstance(held, ast.Attribute)
            if taken or (call.attr in CHANGING and _is_shared(held)):
                yield node.lineno
            continue
        else:
            continue
        for target in written:
            for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                held = each.value if isinstance(each, ast.Attribute | ast.Subscript) else each
                if _is_shared(each) or _is_shared(held):
                    yield node.lineno


def _is_shared(node: ast.AST) -> bool:
    """``x.a.b``: what belongs to ``x.a``."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_no_part_of_level_2_writes_to_what_it_shares(path):
    lines = sorted(writes_beyond_itself(ast.parse(path.read_text())))
    assert lines == [], (
        f"{path.name}:{lines}: return what was found from the part's step; market.py writes it"
    )


@pytest.mark.parametrize(
    "fault",
    [
        "self._at.days_until = 3",
        "self._at.as_of_ms['orders'] = 3",
        "self._at.days_until += 3",
        "del self._ledger.merged[3]",
        "self._ledger.changed_days.clear()",
        "self._ledger.drain()",
        "market.progress.advance(marks)",
        "market.ledger.merged[3] = 3",
        "first, self._at.level = 1, 2",
    ],
)
def test_a_write_to_what_is_shared_is_found(fault):
    assert list(writes_beyond_itself(ast.parse(fault))) == [1]


@pytest.mark.parametrize(
    "fine", ["self._days[3] = 4", "self._shown = {}", "row[3] += 1", "x.row = 3"]
)
def test_a_part_writes_to_what_is_its_own(fine):
    assert list(writes_beyond_itself(ast.parse(fine))) == []
