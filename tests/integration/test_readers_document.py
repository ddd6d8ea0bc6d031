"""docs/readers.md, block by block, against a real Redis."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from support.shopfloor import Floor

from streams import clock
from streams.local.local_stack import LocalStack

pytestmark = pytest.mark.stack

TEXT = (Path(__file__).parents[2] / "docs" / "readers.md").read_text()
ADDRESS = "redis://127.0.0.1:6379/0"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with LocalStack(tmp_path_factory.mktemp("redis"), with_kafka=False) as local:
        yield local.redis_url


@pytest.fixture
async def floor(redis_url):
    floor = Floor(redis_url)
    await floor.publish(clock.now_ms() // 5_000 * 5_000, now_ms=clock.now_ms())
    yield floor
    await floor.close()


def test_the_document_has_them():
    assert len(blocks("sh")) == 2
    assert len(blocks("python")) == 3


async def test_each_redis_cli_line_is_answered(redis_url, floor):
    with Redis.from_url(redis_url, decode_responses=True) as client:
        answers = [
            client.execute_command(*shlex.split(line)[1:]) for line in blocks("sh")[0].splitlines()
        ]
    assert answers[0][0] == str(floor.text("orders").value)
    assert all(answers)


@pytest.mark.parametrize("code", blocks("python"), ids=["redis-py", "sync", "async"])
async def test_each_python_block_runs(redis_url, floor, code):
    code = code.replace(ADDRESS, redis_url)
    if "hmget" in code:
        code += "print(orders, as_of)"
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    if "watch" not in code:
        assert str(floor.text("orders").value) in run.stdout
