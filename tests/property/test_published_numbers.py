"""Numbers as they are published: text that reads back the same, versions that order exactly."""

from __future__ import annotations

import asyncio
import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from support.draws import examples
from support.publications import publication, value

from streams.index.values import Fence, decimal
from streams.local.local_stack import LocalStack
from streams.publish.journal import decode_value, encode_value
from streams.publish.keys import FENCE_FIELDS, market_keys
from streams.publish.metrics import Metrics
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import Outcome, RedisStore
from streams.reader import DEFAULT_PREFIX

PLAIN = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
WIDE = st.integers(-(2**200), 2**200)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NEAR = st.integers(2**53 - 3, 2**53 + 3) | st.integers(0, 3) | st.integers(0, 2**63 - 1)
VERSIONS = st.tuples(NEAR, st.integers(0, 2), st.integers(0, 2), NEAR, NEAR)


@given(WIDE | FINITE)
def test_decimal_is_plain_and_reads_back_the_same(number):
    text = decimal(number)
    assert PLAIN.fullmatch(text)
    assert type(number)(text) == number
    assert float(text) == float(number)


@given(WIDE | FINITE | st.none())
def test_a_value_reads_back_the_same(number):
    given_value = value(number=number, n=0)
    assert decode_value(encode_value(given_value)) == given_value


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with LocalStack(tmp_path_factory.mktemp("redis"), with_kafka=False) as local:
        yield local.redis_url


@pytest.mark.stack
@examples(150)
@given(VERSIONS, VERSIONS, st.integers(0, 3))
def test_the_fence_orders_versions_as_integers(redis_url, first, second, same):
    """The script agrees with ``Fence.follows``, beyond 2^53 too."""
    first, second = Fence(*first), Fence(*first[:same], *second[same:])

    async def write_both():
        metrics = Metrics(markets=["PK"], version="0", edition=1, methodology="0")
        async with Redis.from_url(redis_url, decode_responses=True) as client:
            await client.flushall()
            outcomes = []
            for fence in (first, second):
                store = RedisStore(
                    redis_url,
                    metrics,
                    prefix=DEFAULT_PREFIX,
                    limits=RedisLimits(60_000),
                    timeout_s=3.0,
                )
                made = dataclasses.replace(publication(), fence=fence)
                outcomes.append(await store.publish(made, 0))
                await store.close()
            fence = await client.hgetall(market_keys("PK", DEFAULT_PREFIX).fence)
        return outcomes, Fence(*(int(fence[name]) for name in FENCE_FIELDS))

    outcomes, fence = asyncio.run(write_both())
    assert outcomes[0] is Outcome.WRITTEN
    assert outcomes[1] is (Outcome.WRITTEN if second.follows(first) else Outcome.REFUSED)
    assert fence == (second if second.follows(first) else first)
