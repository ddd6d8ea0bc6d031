"""The quickest alert by its real fault; ``python -m faults.alert_runs`` (in tests/) runs all of them."""

from __future__ import annotations

import dataclasses

import pytest
from faults.alert_faults import FIRST_USER, Chapter
from faults.alert_runs import run_chapter

pytestmark = [pytest.mark.stack, pytest.mark.deep, pytest.mark.slow]  # else tests/rules/service.yml


async def test_a_first_user_whose_orders_are_refused_wakes_alertmanager(tmp_path, cache_dir):
    (run,) = await run_chapter(
        Chapter("first", ((FIRST_USER,),)), tmp_path, cache_dir, patience_s=0, tell=lambda _: None
    )
    assert (run.error, run.told) == ("", "active"), dataclasses.asdict(run)
    assert run.firing_s is not None
