"""Live pages: faults that recover by themselves page nobody, and a real fault pages once."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from support.command import Command, until
from support.methodologies import DEMO_CONFIG
from support.operator_files import ROOT
from support.pager import Pager
from support.prometheus import Api, program

from streams.local.debian_packages import ALERTMANAGER, PROMETHEUS

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.long]

QUIET_S = 240
"""Longer than every `for` of a page and the wait of its group together."""


def pid_of(directory, name):
    return json.loads((directory / "pids" / f"{name}.pid").read_text())["pid"]


def test_kills_wake_nobody_and_frozen_workers_wake_once(tmp_path, cache_dir):
    for wanted in (PROMETHEUS, ALERTMANAGER):
        program(cache_dir, wanted)
    pager = Pager()
    up = ("up", "--dir", tmp_path, "--workers", "2", "--inputs", "2", "--notify", pager.url)
    with Command(*up, "--config", DEMO_CONFIG, "--json") as command:
        prometheus = Api(command.line()["prometheus"])
        shops = ("simulate", "--config", tmp_path / "ecindex.toml", "--rate", "40")
        with Command(*shops, "--season", "flat"):
            fresh = "count(market:ecindex_index_age_seconds:min < 30) >= 5"
            until(lambda: prometheus.query(fresh))

            for name in ("worker-0", "redis"):
                os.kill(pid_of(tmp_path, name), signal.SIGKILL)
            until(lambda: prometheus.query("sum(changes(process_start_time_seconds[5m])) > 0"))
            until(lambda: prometheus.query(fresh))
            time.sleep(QUIET_S)  # that nothing comes can only be waited for
            assert pager.alerts() == []
            assert prometheus.query("max_over_time(sink:ecindex_publish_failures:rate1m[5m]) > 0")

            workers = [pid_of(tmp_path, f"worker-{number}") for number in (0, 1)]
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            until(lambda: pager.notified)
            assert pager.alerts() == [("EcindexNoWorker", "firing")]
            (notification,) = pager.notified
            path, _, anchor = notification["alerts"][0]["annotations"]["runbook_url"].partition("#")
            assert f"\n### {anchor}\n" in (ROOT / path).read_text().lower()

            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            until(lambda: len(pager.notified) > 1)
            assert pager.alerts()[1:] == [("EcindexNoWorker", "resolved")]
        assert command.end(signal.SIGTERM)[0] == 0
    pager.close()
