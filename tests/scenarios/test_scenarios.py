"""Runs every ``*.toml`` beside this file: one behaviour a file, as a script.

A script has ``title``, ``start`` (an instant; other times may leave out what they share with it), the
optional tables ``[methodology]`` (numbers to change) and ``[stack]`` (partitions, partials_partitions),
and ``[[step]]``s, each of which does what its keys say, in this order:

- ``clock``: the time of every worker; ``arrival``: when what is produced from here on arrives;
  ``time``: both.
- ``produce``: records; of each what differs from the defaults (``orders`` partition 0, PK, one line of
  ``books`` 1 x 100): ``topic partition id type at arrives market lines placed method amount region
  channel payment_method raw``. ``at`` defaults to the arrival.
- ``kill``: ``orders-0``, or ``level2`` with ``market``: the owner ends, a new owner recovers its state.
- ``fold``: true or names of source partitions: fold, send rows and marks, flush. ``caught_up = false``:
  the log has more than was fetched. ``publish``: level 2 applies and steps. ``run``: both, for all.
- ``expect``: what must hold, see ``Expect``.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.wire import partition_of
from tests.support.events import CURRENCY, tuned
from tests.support.flow_harness import PAYMENTS, Flow
from tests.support.reference import to_ms

HERE = Path(__file__).parent
SCRIPTS = sorted(HERE.glob("*.toml"))
STEP_KEYS = {
    "note", "clock", "arrival", "time", "produce", "kill", "market", "fold", "caught_up", "publish",
    "run", "expect",
}  # fmt: skip


class Script:
    """One scenario on a running flow."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.start = raw["start"]
        stack = {"partitions": 1, **raw.get("stack", {})}
        self.flow = Flow(tuned(**raw.get("methodology", {})), **stack)
        self.flow.now_ms = self.arrival_ms = self.ms(self.start)
        self.names: dict[tuple[SourcePartition, int], str] = {}
        self._ids = 0

    def ms(self, text: str) -> int:
        """``09:05:00`` on the day of the start, ``+2d 09:05:00`` two days on, or a whole instant."""
        days = 0
        if text.startswith(("+", "-")):
            shift, _, text = text.partition(" ")
            days = int(shift.removesuffix("d"))
        full = text if "T" in text else f"{self.start[:11]}{text}Z"
        return to_ms(full) + days * 86_400_000

    def sp(self, name: str) -> SourcePartition:
        topic, _, number = name.rpartition("-")
        return SourcePartition(topic, int(number))

    # -- steps -------------------------------------------------------------------------------

    def step(self, step: dict[str, Any]) -> None:
        assert step.keys() <= STEP_KEYS, step.keys() - STEP_KEYS
        if "time" in step:
            self.flow.now_ms = self.arrival_ms = self.ms(step["time"])
        if "clock" in step:
            self.flow.now_ms = self.ms(step["clock"])
        if "arrival" in step:
            self.arrival_ms = self.ms(step["arrival"])
        for record in step.get("produce", ()):
            self.produce(**record)
        if "kill" in step:
            self.kill(step["kill"], step.get("market", "PK"))
        caught_up = step.get("caught_up", True)
        if "fold" in step:
            names = step["fold"]
            for sp in list(self.flow.logs) if names is True else [self.sp(n) for n in names]:
                self.flow.fold(sp)
                self.flow.send_partials(sp, caught_up=caught_up)
                self.flow.flush(sp)
                self.flow.send_partials(sp, caught_up=caught_up)
        if step.get("run"):
            self.flow.run(caught_up=caught_up)
        if step.get("publish"):
            self.publish()
        if "expect" in step:
            Expect(self).check(**step["expect"])

    def publish(self) -> None:
        for partition in self.flow.compiles:
            self.flow.apply(partition)
            self.flow.step(partition)

    def kill(self, name: str, market: str) -> None:
        if name == "level2":
            self.flow.start_compile(partition_of(market, self.flow.partials_partitions))
        else:
            self.flow.start_source(self.sp(name))

    def produce(
        self,
        *,
        topic: str = "orders",
        partition: int = 0,
        id: str = "",  # noqa: A002 - as scripts call it
        type: str = "",  # noqa: A002
        at: str | None = None,
        arrives: str | None = None,
        market: str = "PK",
        currency: str | None = None,
        lines: list | None = None,
        placed: str | None = None,
        method: str = "cod",
        amount: int = 100,
        raw: str | None = None,
        **labels: str,
    ) -> None:
        sp = SourcePartition(topic, partition)
        arrived_ms = self.arrival_ms if arrives is None else self.ms(arrives)
        self._ids += 1
        name = id or f"event-{self._ids}"
        occurred_ms = arrived_ms if at is None else self.ms(at)
        event: dict[str, Any] = {
            "event_id": name,
            "type": type or ("payment.captured" if topic == PAYMENTS else "order.placed"),
            "occurred_at": instant(occurred_ms),
            "market": market,
            "order_id": name,
            "currency": currency or CURRENCY.get(market, "XXX"),
            **labels,
        }
        if placed is not None:
            event["placed_at"] = instant(self.ms(placed))
        if topic == PAYMENTS:
            event |= {"method": method, "amount_minor": amount}
        else:
            event["lines"] = [
                {"sku": "s", "category": category, "quantity": quantity, "unit_price_minor": price}
                for category, quantity, price in lines or [("books", 1, 100)]
            ]
        value = json.dumps(event).encode() if raw is None else raw.encode()
        offset = self.flow.produce(sp, value, arrived_ms)
        self.names[sp, offset] = name


def instant(at_ms: int) -> str:
    seconds, ms = divmod(at_ms, 1000)
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


class Expect:
    """``expect`` of a step; every key is optional.

    ``market`` (PK) · ``as_of`` of the last publication, ``unpublished = true`` for none · ``values``:
    field -> value · ``status`` ``revision`` ``n`` ``covered``: field -> that · ``days``:
    ``DATE index:dimension:member`` -> value · ``day_phase``: DATE -> phase · ``outcomes``: counts since
    the start · ``dead``: event name -> reason · ``late``: names · ``closed_hours``/``closed_days``:
    starts, in order of closing · ``revisions``: of the last publication, fields · ``causes``: theirs ·
    ``publications``: how many of the market so far · ``revised_after_final`` · ``open_panes``.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.flow = script.flow

    def check(self, *, market: str = "PK", **expected: Any) -> None:
        for name, wanted in expected.items():
            found = getattr(self, f"_{name}")(market, wanted)
            assert found == wanted, f"{name} of {market}"

    def _published(self, market: str) -> list:
        return [found for found in self.flow.history if found.market == market]

    def _unpublished(self, market: str, _: bool) -> bool:
        return not self._published(market)

    def _as_of(self, market: str, wanted: str) -> str:
        found = self._published(market)[-1].as_of_ms
        return wanted if found == self.script.ms(wanted) else instant(found)

    def _fields(self, market: str, wanted: dict, attribute: str) -> dict:
        return {name: getattr(self.flow.value(market, name), attribute) for name in wanted}

    def _values(self, market: str, wanted: dict) -> dict:
        return self._fields(market, wanted, "value")

    def _status(self, market: str, wanted: dict) -> dict:
        return self._fields(market, wanted, "status")

    def _revision(self, market: str, wanted: dict) -> dict:
        return self._fields(market, wanted, "revision")

    def _n(self, market: str, wanted: dict) -> dict:
        return self._fields(market, wanted, "n")

    def _covered(self, market: str, wanted: dict) -> dict:
        return self._fields(market, wanted, "covered")

    def _day(self, market: str, name: str) -> Any:
        day, _, field = name.partition(" ")
        return self.flow.day_value(market, *field.split(":"), day)

    def _days(self, market: str, wanted: dict) -> dict:
        found = {name: self._day(market, name) for name in wanted}
        return {name: None if value is None else value.value for name, value in found.items()}

    def _day_phase(self, market: str, wanted: dict) -> dict:
        return {day: self._day(market, f"{day} orders:market:all").phase for day in wanted}

    def _outcomes(self, _: str, __: dict) -> dict:
        return dict(self.flow.outcomes)

    def _named(self, set_aside: list) -> list[tuple[str, str]]:
        offsets = {
            (record.offset, record.value): name
            for (sp, offset), name in self.script.names.items()
            for record in set_aside
            if record.offset == offset and self.flow.logs[sp].records[offset].value == record.value
        }
        return [(offsets[record.offset, record.value], record.reason) for record in set_aside]

    def _dead(self, _: str, __: dict) -> dict:
        return dict(self._named(self.flow.dead))

    def _late(self, _: str, __: list) -> list:
        return [name for name, _ in self._named(self.flow.late)]

    def _closed(self, market: str, kind: str, wanted: list[str]) -> list[str]:
        starts = [
            closing.start_ms
            for publication in self._published(market)
            for closing in publication.closings
            if closing.kind == kind
        ]
        if starts == [self.script.ms(text) for text in wanted]:
            return wanted
        return [instant(start) for start in starts]

    def _closed_hours(self, market: str, wanted: list[str]) -> list[str]:
        return self._closed(market, "hour", wanted)

    def _closed_days(self, market: str, wanted: list[str]) -> list[str]:
        return self._closed(market, "day", wanted)

    def _revisions(self, market: str, wanted: list[str]) -> list[str]:
        fields = {revision.value.field for revision in self._published(market)[-1].revisions}
        return wanted if fields >= set(wanted) and bool(fields) == bool(wanted) else sorted(fields)

    def _causes(self, market: str, _: list[str]) -> list[str]:
        return sorted({revision.cause for revision in self._published(market)[-1].revisions})

    def _publications(self, market: str, _: int) -> int:
        return len(self._published(market))

    def _revised_after_final(self, market: str, _: int) -> int:
        partition = partition_of(market, self.flow.partials_partitions)
        return self.flow.compiles[partition].markets[market].revised_after_final

    def _open_panes(self, _: str, __: int) -> int:
        return sum(level.source.open_panes for level in self.flow.levels.values())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    raw = tomllib.loads(path.read_text())
    assert raw["title"], "a scenario says what it shows"
    script = Script(raw)
    for number, step in enumerate(raw["step"], 1):
        try:
            script.step(step)
        except AssertionError as error:
            note = step.get("note", "")
            raise AssertionError(f"{path.name}, step {number} {note}: {error}") from error


def test_there_are_scenarios():
    assert len(SCRIPTS) >= 15
