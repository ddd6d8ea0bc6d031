"""Read one value with its status and age, with the typed reader of this package.

    REDIS_URL=redis://127.0.0.1:6379/0 uv run python examples/python/reader.py HOME

The reader refuses what is too old and what is older than it has seen; reader_plain.py does the same
with redis-py alone.
"""

from __future__ import annotations

import os
import sys

from streams.clock import now_ms
from streams.reader import Reader, ReaderError, UnreachableError

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


def main(market: str = "HOME", field: str = "orders:market:all:1m") -> int:
    """Exit with 0 for a value, 1 when it is unknown now, 2 when Redis cannot be reached."""
    try:
        with Reader(REDIS_URL) as reader:
            reading = reader.get(market, field)
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return 2
    except ReaderError as error:  # absent or too old: unknown, and never zero
        print(f"{market} {field} is unknown: {error}", file=sys.stderr)
        return 1
    if reading.value is None:
        print(f"{market} {field} is unknown: its status is {reading.status}", file=sys.stderr)
        return 1
    age_s = (now_ms() - reading.as_of_ms) / 1000
    print(f"{market} {field} = {reading.value} ({reading.status}, {age_s:.1f} s old)")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
