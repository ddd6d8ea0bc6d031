"""The seeded schedules of every run, and proof that they notice a rule that is off.

``python -m tests.model --seeds 20000 --from S`` runs more. Their number is fixed, not their time: a
schedule takes a tenth of a second on a quiet core.
"""

from __future__ import annotations

import pytest

from tests.model import stage, test_resets, test_sequences, test_topics, test_v
from tests.model.schedule import draw, run, script, shrink
from tests.model.switches import BY_NAME

SCRIPTS = (test_resets, test_sequences, test_topics, test_v)
"""Modules whose scripts name the rules that they need; importing them fills ``stage.SCRIPTED``."""
BLOCKS = [
    range(12),
    pytest.param(range(12, 100), marks=pytest.mark.deep),
    *(pytest.param(range(n, n + 100), marks=pytest.mark.deep) for n in range(100, 300, 100)),
]
SHRINK_BUDGET = 600
"""Runs spent on shrinking a failing schedule: about half a minute."""

CAUGHT_BY = {
    "contiguity guard off": (71, 85, 99),
    "retired records deleted before the flush": (2, 8, 10),
    "a new owner takes no floor": (1, 2, 6),
    "Redis fence off": (94, 142, 157),
    "mark before the rows it covers": (52, 197, 200),
    "as_of from those that have seen the market": (0, 1, 2),
    "unseen partitions of a topic take no part in what is final": (97, 132, 236),
    "inputs read uncommitted": (39, 58, 69),
    "the last stable offset taken for the log's end": (3, 11, 19),
    "an abort marker ends nothing": (7, 18, 56),
    "headline is the larger of the sources": (2, 6, 7),
    "a new owner has room for labels that a row had refused": (3, 12, 39),
    "label sets forgotten by a new owner": (84, 85, 86),
    "a chain may end within a flush": (78, 128, 141),
    "labels of an hour do not name their rows": (1, 16, 36),
    "what is cut loses its member": (0, 1, 2),
}
"""Switch -> seeds whose schedules break without the rule. When a change of the schedules or of
streams/flow makes them pass, find others: ``python -m tests.model --switch NAME --keep-going``."""


@pytest.mark.parametrize("seeds", BLOCKS, ids=str)
def test_every_property_holds_over_seeded_schedules(seeds):
    for seed in seeds:
        schedule = draw(seed)
        violation = run(schedule)
        if violation is not None:
            found = script(shrink(schedule, budget=SHRINK_BUDGET))
            pytest.fail(f"seed {seed}: {violation}\n{found}", pytrace=False)


@pytest.mark.parametrize(
    ("seed", "on"),
    [
        # A new owner closed an hour again because a mark had closed its rows. Its quarters were
        # dropped by then, and its shoppers with them. One seed in 34,000 found it.
        pytest.param(2014006, (), marks=pytest.mark.deep),
        # After a pause of 70 days the hours of an expired vintage were still there, its minutes not.
        pytest.param(2019700, (), marks=pytest.mark.deep),
        # A reset took the as_of of the payments away, and their log began at that very time: the values
        # of before were taken for those of now.
        (720447, ("resets", "topics_change")),
        # A mark landed 400 days after it was sent, and compaction had left no other: it says nothing of
        # what is live. The model had asked for the as_of of a live market.
        (4007554, ()),
        # An import's payments were created again and brought what was 70 days older than all that its
        # orders had closed: no hour that old is kept. The model had asked for its closing.
        pytest.param(4211562, (), marks=pytest.mark.deep),
    ],
)
def test_a_schedule_that_once_failed_holds(seed, on):
    assert run(draw(seed, on)) is None


@pytest.mark.parametrize("name", CAUGHT_BY)
def test_a_schedule_notices_that_a_rule_is_off(name):
    for seed in CAUGHT_BY[name]:
        violation = run(draw(seed), BY_NAME[name])
        if violation is not None and violation.rule != "crash":
            return
    pytest.fail(f"{name}: none of the seeds {CAUGHT_BY[name]} notices", pytrace=False)


def test_every_rule_is_switched_off_by_some_test():
    assert all(module.both is stage.both for module in SCRIPTS)
    assert stage.SCRIPTED | CAUGHT_BY.keys() == BY_NAME.keys()
