"""What people are told of outages and jumps, and when: ``python -m faults.told_live`` (in tests/).

Ten markets of 1,000 orders a minute on a real index: ``up`` with Prometheus and Alertmanager, ``ecindex
notify``, and local vendors that validate as the real ones. Each market stops once, and later one of its
categories jumps. Then workers are killed and join, and Redis restarts, and nobody may be told. It prints
a line for each and exits with 1 if one was not as promised. It takes an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import math
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from support.boards import listening
from support.command import Command
from support.local_vendors import messages, variables
from support.methodologies import DEMO_TEXT, EXAMPLES
from support.notifying import settings_for, vendors

from streams.clock import now_ms
from streams.index.panes import rfc3339
from streams.index.slugs import slug
from streams.local import ports

ROOT = Path(__file__).parents[2]
MARKETS = ("PK", "BD", "LK", "NP", "MM", "IN", "ID", "VN", "PH", "TH")
CATEGORIES = ("Women's Fashion", "Men's Fashion", "Appliances")
"""Each has at least a tenth of a market's orders."""
FACTOR = 6
LASTS_S = 360
"""How long a stop and a jump last: longer than it may take to be told."""
APART_S = 7
"""Stops begin so many seconds after each other, so at different places of a minute."""
SETTLE_S, FIRST_S, BETWEEN_S = 120, 900, 480
"""Shops that begin anew have no orders behind them that are paid now: for some minutes payments are half
of what is usual, and the page is right to say so. Nothing is planted until then."""
JUMPS_FIRST_S = -(APART_S * len(MARKETS) + LASTS_S + BETWEEN_S) + FIRST_S
CAUGHT_UP_MS = 15_000
TOPPED_UP_MS = 20_000
TIMES = 10
SETTLED_MAX_S, REST_S = 180, 15
"""Longest wait for a page that is fine again, and how long it is left so: Prometheus must see it."""
RESTARTS = "times in 30 minutes"
"""In the ticket of a worker that starts again and again. It is right: each is killed five times."""
LIMITS = {
    ("stop", "calm no more"): (None, 15), ("stop", "page"): (None, 75), ("stop", "told"): (None, 100),
    ("jump", "calm no more"): (None, 20), ("jump", "page"): (80, None), ("jump", "told"): (105, None),
}  # fmt: skip
"""(median, p90) in seconds that are promised."""
STATES = {"stop": ("outage",), "jump": ("shift", "outage")}


@dataclasses.dataclass
class Planted:
    """A stop or jump of a market. Instants are ms; each is the first of its kind, None: not seen."""

    kind: str
    market: str
    category: str
    begins_ms: int
    was_calm: bool = False
    seen: dict[str, int] = dataclasses.field(default_factory=dict)
    messages: list[tuple[int, str, dict]] = dataclasses.field(default_factory=list)

    @property
    def ends_ms(self):
        return self.begins_ms + LASTS_S * 1_000

    def after_s(self, what):
        return (self.seen[what] - self.begins_ms) / 1_000 if what in self.seen else math.inf

    def note(self, what):
        self.seen.setdefault(what, now_ms())

    def first_to(self, vendor):
        return [each for _, to, each in self.messages if to == vendor and _is_first(to, each)]

    @property
    def missing(self):
        """What a complete telling lacks."""
        wrong = [
            f"{len(found)} first messages to {vendor}"
            for vendor in ("slack", "pagerduty", "mail", "webhook")
            if len(found := self.first_to(vendor)) != 1
        ]
        if any(not each["picture_bytes"] for each in self.first_to("slack")):
            wrong.append("no picture in Slack")
        if any(each["no_picture"] for each in self.first_to("webhook")):
            wrong.append("no picture in the webhook")
        return wrong


def _is_first(vendor, message):
    """Whether a message is the one by which an incident is told first."""
    if vendor == "pagerduty":
        return message["event_action"] == "trigger"
    if vendor == "slack":
        return not message["reply"]
    if vendor == "mail":
        return not re.match(r"(?i)re: ", message["subject"])
    return message["kind"] == "began"


def write_config(home):
    """Ten equal markets; they differ in their codes alone."""
    home.mkdir()
    text = DEMO_TEXT
    head, _, _ = text.partition("[markets.PK]")
    regions = [f"r{number}" for number in range(7)]
    for code in MARKETS:
        head += (
            f'\n[markets.{code}]\nname = "Market {code}"\ncurrency = "PKR"\ntime_zone = "UTC"\n'
            f'categories = "regional"\nregions = {json.dumps(regions)}\n'
        )
    (home / "methodology.toml").write_text(head)
    text = (EXAMPLES / "demo/simulator.toml").read_text()
    head, _, _ = text.partition("[markets.PK]")
    shares = ", ".join(f"{region} = {1 / len(regions):.3f}" for region in regions)
    for code in MARKETS:
        head += (
            f'\n[markets.{code}]\ncurrency = "PKR"\ntime_zone = "UTC"\nweight = {1 / len(MARKETS)}\n'
            f"price_scale = 1.0\nshoppers = 400000\nsellers = 900\nregions = {{ {shares} }}\n"
        )
    (home / "simulator.toml").write_text(head)
    (home / "ecindex.toml").write_text('methodology = "methodology.toml"\n')


def simulate(home, config, *options):
    return Command(
        "simulate", "--config", config, "--profile", home / "simulator.toml", "--season", "flat",
        "--lag-scale", "0.001", *options,
    )  # fmt: skip


def since(prepared, home, config, rate, *options):
    """Go on selling where the last one has ended."""
    backfill_s = max(1, (now_ms() - int(prepared.read_text())) // 1_000)
    return simulate(home, config, "--rate", rate, "--backfill", f"{backfill_s}s", *options)


async def prepare(home, directory, rate, backfill, tell):
    """Seed six weeks and send a day's backlog; return the instant (ms) until which events were sent."""
    up = ("up", "--config", home / "ecindex.toml", "--dir", directory, "--workers", "0")
    with Command(*up, "--inputs", "4", "--json") as command:
        await asyncio.to_thread(command.line)
        config = directory / "ecindex.toml"
        tell("servers are up")
        options = ("--seed-history", "6", "--backfill", backfill, "--for", "1s", "--seed", "1")
        with simulate(home, config, "--rate", rate, *options, "--json") as sending:
            out, err = await asyncio.to_thread(sending.process.communicate)  # it takes minutes
        assert sending.process.returncode == 0, err
        tell("the backlog is sent")
        code, _, err = await asyncio.to_thread(command.end, signal.SIGTERM)
        assert code == 0, err
    return json.loads(out)["last_ms"]


async def top_up(home, directory, prepared, rate, tell):
    """Send what was sold since, before any worker runs.

    Workers that were at the log's end meanwhile would find it late by half an hour: its producer
    stamped it with its own times.
    """
    up = ("up", "--config", home / "ecindex.toml", "--dir", directory, "--workers", "0", "--json")
    with Command(*up) as command:
        await asyncio.to_thread(command.line)
        config = directory / "ecindex.toml"
        options = ("--for", "1s", "--seed", "2", "--json")
        while now_ms() - int(prepared.read_text()) > TOPPED_UP_MS:
            with since(prepared, home, config, rate, *options) as sending:
                out, err = await asyncio.to_thread(sending.process.communicate)
            assert sending.process.returncode == 0, err
            prepared.write_text(str(json.loads(out)["last_ms"]))
        tell("what was sold since is sent")
        await asyncio.to_thread(command.end, signal.SIGTERM)


def plan(rate_begins_ms, first_s, nth=0):
    stops = [
        Planted("stop", market, "all", rate_begins_ms + (first_s + APART_S * at) * 1_000)
        for at, market in enumerate(MARKETS)
    ]
    again_s = first_s + APART_S * len(MARKETS) + LASTS_S + BETWEEN_S
    jumps = [
        Planted(
            "jump", market, CATEGORIES[(at + nth) % len(CATEGORIES)],
            rate_begins_ms + (again_s + APART_S * at) * 1_000,
        )
        for at, market in enumerate(MARKETS)
    ]  # fmt: skip
    return stops, jumps


def options_of(planted, begins_ms):
    for each in planted:
        after_s = (each.begins_ms - begins_ms) // 1_000
        if each.kind == "stop":
            yield from ("--outage", f"{each.market}:{after_s}:{LASTS_S}")
        else:
            yield from (
                "--shift", f"{each.market}:{slug(each.category)}:{FACTOR}:{after_s}:{LASTS_S}"
            )  # fmt: skip


async def watch_page(url, planted, levels, ages_ms, log):
    """Note when the page first says of a market what is planted there; ``log`` has every level."""
    for_hours = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=for_hours) as session,
        listening(session, url) as stream,
    ):
        while (event := await stream.event()) is not None:
            if event[0] != "beat":
                continue
            for market in event[1]["markets"]:
                ages_ms[market["market"]] = market["as_of_age_ms"]
                level = market["level"]
                if levels.get(market["market"]) != level:
                    levels[market["market"]] = level
                    log.write(f"{rfc3339(now_ms())} {market['market']} {level}\n")
                    log.flush()
                for each in planted:
                    during = each.begins_ms - 10_000 <= now_ms() <= each.ends_ms + 60_000
                    if each.market != market["market"] or not during:
                        continue
                    # What was not calm before says nothing of what is planted.
                    each.was_calm |= level == "fine"
                    if now_ms() < each.begins_ms:
                        continue
                    if level in ("suspicion", "shift", "outage") and each.was_calm:
                        each.note("calm no more")
                    if level in STATES[each.kind]:
                        each.note("page")


async def watch_vendors(found, planted, log):
    """Note what is told of what is planted; ``log`` has everything."""
    counts = {}
    while True:
        new = {}
        for vendor, content in messages(found):
            new[vendor] = new.get(vendor, 0) + 1
            if new[vendor] <= counts.get(vendor, 0):
                continue
            at_ms = now_ms()
            line = {"at": rfc3339(at_ms), "to": vendor, **content}
            log.write(json.dumps(line, ensure_ascii=False) + "\n")
            log.flush()
            text = json.dumps(content)
            for each in planted:
                told = re.search(rf"\b{each.market}\b", text)
                if told and each.begins_ms <= at_ms <= each.ends_ms + 240_000:
                    each.messages.append((at_ms, vendor, content))
                    if vendor == "slack":
                        each.note("told")
        counts = new
        await asyncio.sleep(0.1)


def quantiles(planted, what):
    found = sorted(each.after_s(what) for each in planted)
    p90 = found[max(0, math.ceil(0.9 * len(found)) - 1)]
    return statistics.median(found), p90


def judge(planted, tell):
    """Print what was seen of each; return what was not as promised."""
    wrong = []
    for each in planted:
        shown = " ".join(
            f"{what} {each.after_s(what):.1f}" for what in ("calm no more", "page", "told")
        )
        told = [f"{to}" for _, to, one in each.messages]
        tell(f"{each.kind} of {each.market} {each.category}: {shown}; {told}")
        if each.kind == "stop":
            wrong += [f"stop of {each.market}: {what}" for what in each.missing]
    for what in ("calm no more", "page", "told"):
        kind = planted[0].kind
        own = quantiles(planted, what)
        tell(f"{kind}: {what}: median {own[0]:.1f} s, p90 {own[1]:.1f} s")
        for name, value, limit in zip(("median", "p90"), own, LIMITS[kind, what], strict=True):
            if limit is not None and value > limit:
                wrong.append(f"{kind}: {what}: {name} {value:.1f} s, promised {limit} s")
    return wrong


async def disturb(directory, config, levels, tell):
    """Kill workers, let one join and leave, restart Redis: each ``TIMES`` times.

    Each begins when what the one before has done is over: three of them within a minute kept markets
    without an owner for two minutes, and then a page is right.
    """
    pids = directory / "pids"

    def pid(name):
        return json.loads((pids / f"{name}.pid").read_text())["pid"]

    async def settled(at_least_s):
        began = time.monotonic()
        await asyncio.sleep(at_least_s)
        while unsettled := {m: level for m, level in levels.items() if level != "fine"}:
            if time.monotonic() > began + SETTLED_MAX_S:
                tell(f"not settled: {unsettled}")
                break
            await asyncio.sleep(1)
        tell(f"settled after {time.monotonic() - began:.0f} s")
        await asyncio.sleep(REST_S)

    for number in range(TIMES):
        tell(f"kill -9 of worker-{number % 2}")
        os.kill(pid(f"worker-{number % 2}"), signal.SIGKILL)
        await settled(20)
        tell("Redis restarts")
        os.kill(pid("redis"), signal.SIGTERM)
        await settled(10)
        tell("a worker joins")
        with Command("worker", "--config", config, "--metrics-port", "0") as worker:
            await settled(20)
            tell("it leaves")
            await asyncio.to_thread(worker.end, signal.SIGTERM)
        await settled(10)


async def run(options, directory, tell):
    home, data = directory / "config", directory / "data"
    rate = options.orders_per_minute / 60 * len(MARKETS) * 2
    prepared = directory / "sent-until-ms"
    if not prepared.exists():
        write_config(home)
        prepared.write_text(str(await prepare(home, data, rate, options.backfill, tell)))
    if options.prepare:
        return []
    await top_up(home, data, prepared, rate, tell)
    async with vendors() as found, contextlib.AsyncExitStack() as stack:
        (port,) = ports.choose(1)
        up = (
            "up", "--config", home / "ecindex.toml", "--dir", data, "--workers", "2", "--json",
            "--notify", f"http://127.0.0.1:{port}/alerts",
        )  # fmt: skip
        index = stack.enter_context(Command(*up))
        where = await asyncio.to_thread(index.line)
        tell(json.dumps(where))
        notify_settings = settings_for(found, port=port, prometheus_url=where["prometheus"])
        config = data / "ecindex.toml"
        notify = stack.enter_context(
            Command("notify", "--config", config, env=variables(notify_settings))
        )
        log = stack.enter_context((directory / "messages.jsonl").open("w"))
        level_log = stack.enter_context((directory / "levels.log").open("w"))
        planted, levels, ages_ms = [], {}, {}
        watching = [
            asyncio.create_task(watch_page(where["board"], planted, levels, ages_ms, level_log)),
            asyncio.create_task(watch_vendors(found, planted, log)),
        ]
        shops = stack.enter_context(since(prepared, home, config, rate, "--seed", "2", "--json"))
        try:
            while len(ages_ms) < len(MARKETS) or any(
                age_ms is None or age_ms > CAUGHT_UP_MS for age_ms in ages_ms.values()
            ):
                tell(f"as_of is old: {ages_ms}")
                await asyncio.sleep(15)
            tell("all markets are caught up")
            await asyncio.sleep(SETTLE_S)
            tell(f"levels: {levels}")
            _, out, _ = await asyncio.to_thread(shops.end, signal.SIGTERM)
            prepared.write_text(str(json.loads(out)["last_ms"]))
            begins_ms = now_ms()
            kinds = plan(begins_ms, FIRST_S)
            if options.jumps is not None:
                kinds = [plan(begins_ms, JUMPS_FIRST_S, options.jumps)[1]]
            if options.faults_only:
                kinds = []
            planted += [each for kind in kinds for each in kind]
            plants = options_of(planted, begins_ms)
            shops = stack.enter_context(since(prepared, home, config, rate, "--seed", "3", *plants))
            wrong = []
            for kind in kinds:
                until_ms = kind[-1].ends_ms + 300_000
                while now_ms() < until_ms:
                    await asyncio.sleep(5)
                    assert shops.process.poll() is None, shops.finish()
                    for task in watching:
                        if task.done():
                            task.result()
                wrong += judge(kind, tell)
            tell(f"levels: {levels}")
            if options.no_faults:
                return wrong
            before = len(list(messages(found)))
            await disturb(data, config, levels, tell)
            await asyncio.sleep(120)
            after = list(messages(found))
            for _, content in after[before:]:
                text = json.dumps(content)
                if RESTARTS in text:
                    tell(f"told of the kills: {text[:100]}")
                elif content.get("event_action") != "resolve":  # what began it was told too
                    wrong.append(f"told without a cause: {text[:300]}")
            tell(f"messages before the faults {before}, after them {len(after)}; levels: {levels}")
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            for command in (shops, notify, index):
                code, _, err = await asyncio.to_thread(command.end, signal.SIGTERM)
                tell(f"ended with {code}: {err[-300:]}")
    return wrong


def main():
    parser = argparse.ArgumentParser(prog="python -m faults.told_live", description=__doc__)
    parser.add_argument("--orders-per-minute", type=float, default=1_000)
    parser.add_argument("--backfill", default="26h")
    parser.add_argument("--dir", type=Path, help="keep everything here; a later run continues")
    parser.add_argument(
        "--jumps", type=int, metavar="N", help="plant jumps alone, of the categories from N on"
    )
    parser.add_argument("--no-faults", action="store_true", help="plant stops and jumps alone")
    parser.add_argument("--faults-only", action="store_true", help="plant no stops and no jumps")
    parser.add_argument("--prepare", action="store_true", help="only send the backlog")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    def tell(text):
        print(f"{rfc3339(now_ms())[11:19]} {text}", flush=True)  # noqa: T201 - a command line

    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = options.dir or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ecindex-told-"))
        )
        directory.mkdir(exist_ok=True)
        wrong = asyncio.run(run(options, directory, tell))
    tell(f"{time.monotonic() - began:.0f} s")
    for each in wrong:
        tell(f"NOT AS PROMISED: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
