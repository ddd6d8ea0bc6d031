"""A setting that is accepted works: a worker is built of the least and the largest of each.

It was accepted and then crashed each worker with exit code 1, again and again: a session longer than a
request, and bytes beyond what a request of Kafka can carry.
"""

from __future__ import annotations

import pytest
from aiokafka.protocol.group import JoinGroupRequest_v2
from aiokafka.protocol.produce import ProduceRequest_v0
from pydantic import BaseModel

from streams.settings import (
    Settings,
    SettingsError,
    default_config,
    load_methodology,
    load_settings,
)
from streams.worker.app import IndexWorker
from streams.worker.faust_app import AppSettings
from streams.worker.fetch_by_id import _FetchRequestV13
from streams.worker.watchdog import WatchdogSettings

INT32_MAX = 2**31 - 1
LEAST = {
    "kafka.fetch_max_wait_ms": 1,  # bounds with a reason, so not pydantic's
    "kafka.heartbeat_ms": 100,
}
MOST = {
    "kafka.fetch_max_wait_ms": 500,
    "kafka.heartbeat_ms": 100_000,  # a third of the longest session
}


def bounds(model: type[BaseModel], prefix: str = "") -> dict[str, tuple[int | None, int | None]]:
    found = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= bounds(kind, f"{prefix}{name}.")
        elif kind in (int, float, int | None):
            marks = field.metadata
            least = next((mark.ge for mark in marks if hasattr(mark, "ge")), None)
            most = next((mark.le for mark in marks if hasattr(mark, "le")), None)
            found[prefix + name] = least, most
    return found


BOUNDS = bounds(Settings)
ALL_LEAST = {name: least for name, (least, _) in BOUNDS.items()} | LEAST
ALL_MOST = {name: most for name, (_, most) in BOUNDS.items()} | MOST


def settings_of(tmp_path, given):
    return load_settings(default_config("ecindex.toml"), {"data_dir": tmp_path, **given})


def test_every_number_has_a_least_and_a_largest_value():
    assert len(BOUNDS) > 15
    unbounded = [name for name in BOUNDS if ALL_LEAST[name] is None or ALL_MOST[name] is None]
    assert unbounded == []


@pytest.mark.parametrize("given", [ALL_LEAST, ALL_MOST], ids=["least", "most"])
async def test_a_worker_is_built_of_the_extremes(tmp_path, given):
    settings = settings_of(tmp_path, given)
    worker = IndexWorker(settings, load_methodology(settings), {"orders": 1, "payments": 1})
    worker.create()
    thread = worker.app.consumer._new_consumer_thread()
    consumer = thread._create_worker_consumer(worker.app.transport)
    try:
        session_ms = consumer._session_timeout_ms
        JoinGroupRequest_v2("g", session_ms, consumer._rebalance_timeout_ms, "", "c", []).encode()
        ProduceRequest_v0(-1, settings.kafka.request_timeout_ms, []).encode()
        wait_ms, least = consumer._fetch_max_wait_ms, consumer._fetch_min_bytes
        most = consumer._max_partition_fetch_bytes
        partition = (0, -1, 0, -1, -1, most, {})
        topics = [(b"\0" * 16, [partition], {})]
        request = _FetchRequestV13(-1, wait_ms, least, most, 1, 0, -1, topics, [], "", {})
        assert request.encode()
    finally:
        consumer._closed = True  # it was never started


@pytest.mark.parametrize(
    ("given", "setting", "expected"),
    [
        ({"request_timeout_ms": 34_999}, "request_timeout_ms", "35000"),
        ({"request_timeout_ms": 300_001}, "request_timeout_ms", "300000"),
        ({"session_timeout_ms": 5_999}, "session_timeout_ms", "6000"),
        ({"session_timeout_ms": 90_001}, "session_timeout_ms", "kafka.request_timeout_ms, 90000"),
        (
            {"request_timeout_ms": 40_000, "session_timeout_ms": 40_001},
            "session_timeout_ms",
            "40000",
        ),
        ({"fetch_min_bytes": 2**31}, "fetch_min_bytes", "16777216"),
        ({"fetch_max_bytes": 2**24 + 1}, "fetch_max_bytes", "16777216"),
    ],
)
def test_what_no_worker_can_run_with_is_refused_by_its_name(tmp_path, given, setting, expected):
    with pytest.raises(SettingsError) as caught:
        settings_of(tmp_path, {f"kafka.{name}": value for name, value in given.items()})
    (problem,) = caught.value.problems
    assert problem.setting == f"kafka.{setting}"
    assert expected in problem.expected


def test_the_bounds_of_a_request_are_those_of_a_rebalance_and_of_a_recovery():
    least, most = BOUNDS["kafka.request_timeout_ms"]
    rebalance_ms = AppSettings.__dataclass_fields__["rebalance_timeout_s"].default * 1000
    assert least > rebalance_ms
    assert most <= WatchdogSettings().recovery_ms
    assert most < INT32_MAX
