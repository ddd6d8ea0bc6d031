"""A copy of examples/ beside a running ``ecindex up``, started as their README says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from redis import Redis
from support.command import DEADLINE_S, ENVIRONMENT, Command, until

from streams.clock import now_ms
from streams.index.panes import rfc3339

ROOT = Path(__file__).parents[2]
README = (ROOT / "examples" / "README.md").read_text()
ORDERS_1M = "orders:market:all:1m"
PYTHON = {
    "streams.reader": (sys.executable, "examples/python/reader.py"),
    "redis-py": (sys.executable, "examples/python/reader_plain.py"),
}
BIG = 2**64 + 1
"""Neither a double nor a 64-bit integer holds this number."""


class Ended(NamedTuple):
    """The end of a program."""

    code: int
    out: str
    err: str


class Examples:
    """One ``ecindex up`` and a copy of examples/. Programs run from the directory above the copy."""

    def __init__(self, directory):
        self.directory = directory
        shutil.copytree(
            ROOT / "examples", directory / "examples",
            ignore=shutil.ignore_patterns("node_modules", "__pycache__"),
        )  # fmt: skip
        self._up = Command("up", "--dir", directory / "try", "--inputs", "3", "--json")
        where = self._up.line()
        self.redis = Redis.from_url(where["redis"], decode_responses=True)
        self.env = self._exported()
        assert self.env == {"KAFKA_BOOTSTRAP": where["bootstrap"], "REDIS_URL": where["redis"]}

    def _exported(self):
        """The variables that the README's ``export`` lines set."""
        lines = re.findall(r"^export .*$", README, re.MULTILINE)
        output = subprocess.run(
            ["bash", "-c", "\n".join([*lines, "env"])],
            cwd=self.directory, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        return dict(re.findall(r"^(KAFKA_BOOTSTRAP|REDIS_URL)=(.*)$", output, re.MULTILINE))

    def run(self, *arguments, env=None):
        """Run one program to its end."""
        done = subprocess.run(
            [str(argument) for argument in arguments],
            cwd=self.directory, env=ENVIRONMENT | self.env | (env or {}),
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def send(self, *producer, shop, orders=20, at=None):
        """Run a producer. Its orders are placed now or, if given, at ``at``."""
        at = at or instant()
        return self.run(*producer, "--orders", orders, "--shop", shop, "--at", at)

    def cover_the_last_minute(self):
        """Send one order older than the window, so that the log covers the whole window.

        It is 20 s younger than the grace allows, in a minute without any of the later orders.
        """
        sent = self.send(
            sys.executable, "examples/python/producer.py", shop="before", orders=1,
            at=instant(-100),
        )  # fmt: skip
        assert sent.code == 0, sent.err

    def read_until(self, expected, *reader):
        """Ask until the answer is a value of at least ``expected``; return that answer.

        The orders stay in their window for a minute only.
        """

        def read():
            ended = self.run(*reader, "HOME", ORDERS_1M)
            found = re.search(r"= (\d+) ", ended.out)
            return ended if found and int(found[1]) >= expected else None

        return until(read)

    def put(self, market, **fields):
        """Write to Redis what a publisher could have left for a market without a publisher here."""
        key = f"ecindex:v1:{{{market}}}:values"
        self.redis.delete(key)
        if fields:
            self.redis.hset(key, mapping=fields)

    def close(self):
        self.redis.close()
        self._up.process.terminate()
        code, _, err = self._up.finish()
        assert code == 0, err


def instant(later_s=0):
    """RFC 3339 text of now or of some seconds later, as the contract writes it."""
    return rfc3339(now_ms() + later_s * 1000)


def header(silent_s=-60, behind_s=-60):
    """The fields that a publisher adds to its values, for a given age.

    By default their clock is ahead, so a reader that a busy machine starts late finds them fresh.
    """
    return {
        "@published_at": instant(-silent_s),
        "@as_of": instant(-behind_s),
        "@as_of:orders": instant(-behind_s),
        "@edition": "2",
        "@phase": "live",
    }


def check_reader(examples, *reader):
    """Check every answer of a reader that needs no orders."""
    examples.put("NP")
    absent = examples.run(*reader, "NP")
    assert (absent.code, absent.out) == (1, "")
    assert f"NP {ORDERS_1M} is unknown: " in absent.err
    assert "nobody publishes this market now" in absent.err

    examples.put("NP", **{ORDERS_1M: str(BIG)}, **header())
    assert examples.run(*reader, "NP").out.startswith(f"NP {ORDERS_1M} = {BIG} (ok, ")
    unheard_of = examples.run(*reader, "NP", "nonsense")
    assert (unheard_of.code, unheard_of.out) == (1, "")
    assert "not among" in unheard_of.err

    for fields, why in (
        ({ORDERS_1M: "7", **header(silent_s=20)}, "publisher was last heard "),
        ({ORDERS_1M: "7", **header(behind_s=90)}, " s "),
        ({f"{ORDERS_1M}@status": "filling", **header()}, "its status is filling"),
    ):
        examples.put("NP", **fields)
        refused = examples.run(*reader, "NP")
        assert (refused.code, refused.out) == (1, ""), why
        assert refused.err.startswith(f"NP {ORDERS_1M} is unknown: ")
        assert why in refused.err

    nobody = examples.run(*reader, "NP", env={"REDIS_URL": "redis://:secret@127.0.0.1:1/0"})
    assert (nobody.code, nobody.out) == (2, "")
    assert nobody.err.startswith("Redis does not answer: ")
    assert len(nobody.err.splitlines()) == 1
    assert "secret" not in nobody.err


def check_unreachable(examples, *producer):
    """Check that a producer without Kafka says so in one line, and how to send the same events later."""
    at = instant()
    given = ("--orders", 2, "--shop", "s", "--at", at)
    nobody = examples.run(*producer, *given, env={"KAFKA_BOOTSTRAP": "127.0.0.1:1"})
    assert (nobody.code, nobody.out) == (2, "")
    assert nobody.err.startswith("Kafka at 127.0.0.1:1 did not take the events: ")
    assert nobody.err.endswith(f"again: --orders 2 --shop s --at {at}\n")
    assert len(nobody.err.splitlines()) == 1
