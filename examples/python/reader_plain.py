"""Read one value with its status and age, with redis-py alone.

    REDIS_URL=redis://127.0.0.1:6379/0 uv run python examples/python/reader_plain.py HOME

One HMGET answers value, status and both times, all of one version (docs/contract.md, Redis). A value is
as old as its source, orders or payments: docs/contract.md (Sources) has the source of each index.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import redis

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
SILENT_AFTER = timedelta(seconds=5)
"""A publisher says each second that its values stand."""
BEHIND_AFTER = timedelta(seconds=30)
"""The newest window of a live market ended at most some ten seconds ago."""


class UnknownError(Exception):
    """There is no value that may be used now. That is not a zero."""


class Value(NamedTuple):
    """What the index says, and since when."""

    text: str
    """Plain decimal. An integer may exceed 64 bits; int() keeps it, float() would not."""
    status: str
    age: timedelta


def read_value(client: redis.Redis, market: str, field: str, source: str) -> Value:
    """Read one value. Raises UnknownError, and redis.RedisError when Redis does not answer."""
    text, status, as_of, published_at = client.hmget(
        f"ecindex:v1:{{{market}}}:values",
        [field, f"{field}@status", f"@as_of:{source}", "@published_at"],
    )
    if as_of is None or published_at is None:
        raise UnknownError("nobody publishes this market now")
    if text is None and status is None:
        raise UnknownError("it is not among the market's values")
    now = datetime.now(UTC)
    silence, age = now - datetime.fromisoformat(published_at), now - datetime.fromisoformat(as_of)
    if silence > SILENT_AFTER:
        raise UnknownError(f"its publisher was last heard {silence.total_seconds():.1f} s ago")
    if age > BEHIND_AFTER:
        raise UnknownError(f"it is {age.total_seconds():.1f} s old")
    if text is None:
        raise UnknownError(f"its status is {status}")
    return Value(text, status or "ok", age)


def main(market: str = "HOME", field: str = "orders:market:all:1m", source: str = "orders") -> int:
    """Exit with 0 for a value, 1 when it is unknown now, 2 when Redis cannot be reached."""
    try:
        with redis.Redis.from_url(REDIS_URL, decode_responses=True, socket_timeout=2) as client:
            value = read_value(client, market, field, source)
    except redis.RedisError as error:
        print(f"Redis does not answer: {error}", file=sys.stderr)
        return 2
    except UnknownError as error:
        print(f"{market} {field} is unknown: {error}", file=sys.stderr)
        return 1
    age_s = value.age.total_seconds()
    print(f"{market} {field} = {value.text} ({value.status}, {age_s:.1f} s old)")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
