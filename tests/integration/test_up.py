"""`ecindex up` runs everything, restarts what ends, and ends everything when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request

import pytest
from redis import Redis
from support.command import Command, until
from support.kafka import consume, produce
from support.methodologies import DEMO, DEMO_CONFIG

from streams.settings import ADDRESSES, elsewhere, load_settings

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def metrics(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def pid_of(directory, name):
    return json.loads((directory / "pids" / f"{name}.pid").read_text())["pid"]


def test_up_is_ready_serves_and_ends_clean(tmp_path):
    with Command("up", "--dir", tmp_path, "--workers", "2", "--inputs", "4", "--json") as command:
        where = command.line()
        assert set(where) == {
            "bootstrap",
            "redis",
            "metrics",
            "board",
            "prometheus",
            "alertmanager",
        }
        assert len(where["metrics"]) == 2
        for url in where["metrics"]:
            assert "ecindex_build_info" in metrics(url)
            with urllib.request.urlopen(url.replace("/metrics", "/readyz"), timeout=30) as answer:
                assert answer.status == 200
        with Redis.from_url(where["redis"]) as redis:
            assert redis.ping()
        until(lambda: _page(where["board"]))
        assert not told(tmp_path / "ecindex.toml", where["metrics"]), (
            "our defaults follow our advice"
        )

        assert tmp_path / "ecindex.toml" in elsewhere(load_settings(), ADDRESSES)

        asked = ("topics", "check", "--inputs", "4", "--arrival", "broker")
        with Command(*asked, "--config", tmp_path / "ecindex.toml") as check:
            assert check.finish()[0] == 0, "no producer's clock decides when its events arrived"

        children = command.children()
        assert len(children) == 5, "Kafka, Redis, two workers, the board"
        code, out, err = command.end(signal.SIGTERM)
        assert (code, out) == (0, ""), err
        assert not [child for child in children if child.is_running()]
        assert not list((tmp_path / "pids").iterdir())
    assert tmp_path / "ecindex.toml" not in elsewhere(load_settings(), ADDRESSES)


def told(config, workers):
    """What doctor tells of an installation."""
    urls = [argument for worker in workers for argument in ("--worker", worker)]
    with Command("doctor", "--config", config, *urls, "--json") as command:
        code, out, err = command.finish()
    assert code == 0, err
    findings = json.loads(out.splitlines()[-1])["findings"]
    return [each for each in findings if each["level"] != "ok"]


@pytest.mark.deep
async def test_a_directory_has_one_user_and_a_later_one_goes_on_with_its_log(tmp_path):
    arguments = ("up", "--dir", tmp_path, "--inputs", "2", "--json")
    with Command(*arguments, "--config", DEMO_CONFIG) as command:
        first = command.line()
        await produce(first["bootstrap"], "orders", [b"kept"])
        with Command(*arguments) as other:
            code, out, err = other.finish()
        assert (code, out) == (1, "")
        assert str(tmp_path) in err
        assert command.end(signal.SIGINT)[0] == 0
    with Command(*arguments) as command:
        second = command.line()
        assert second == first, "addresses are kept as well"
        assert load_settings(tmp_path / "ecindex.toml").methodology == DEMO
        assert await consume(second["bootstrap"], "orders", 1) == [b"kept"]
        assert command.end(signal.SIGTERM)[0] == 0


@pytest.mark.deep
def test_what_is_killed_comes_back_on_its_address(tmp_path):
    with Command("up", "--dir", tmp_path, "--inputs", "2", "--json") as command:
        where = command.line()
        (url,) = where["metrics"]
        for name in ("worker-0", "kafka", "redis", "board"):
            os.kill(pid_of(tmp_path, name), signal.SIGKILL)

        def back():
            try:
                with urllib.request.urlopen(url.replace("/metrics", "/readyz"), timeout=30):
                    return True
            except OSError:
                return False

        until(lambda: not back())
        until(back)
        until(lambda: _answers(where["redis"]))
        until(lambda: _page(where["board"]))
        code, _out, err = command.end(signal.SIGTERM)
        assert code == 0, err
        assert "worker-0 ended (signal 9)" in err


def _page(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return b"ecindex" in answer.read()
    except OSError:
        return False


def _answers(url):
    host, port = url.removeprefix("redis://").removesuffix("/0").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_stop_before_it_is_ready_leaves_no_child_and_no_temporary_directory(tmp_path):
    with Command("up", "--json", env={"TMPDIR": str(tmp_path)}) as command:
        until(lambda: list(tmp_path.glob("ecindex-*/pids/worker-0.pid")))
        children = command.children()
        code, out, err = command.end(signal.SIGTERM)
        assert (code, out) == (0, ""), err
        assert not [child for child in children if child.is_running()]
        assert not list(tmp_path.glob("ecindex-*"))


def test_a_wrong_setting_is_named_before_anything_starts(tmp_path):
    broken = tmp_path / "methodology.toml"
    broken.write_text("edition = 1\n")
    with Command(
        "up", "--dir", tmp_path / "dir", "--json", env={"ECINDEX_METHODOLOGY": str(broken)}
    ) as command:
        code, out, err = command.finish()
    assert (code, out) == (2, "")
    assert "methodology" in err
    assert "environment ECINDEX_METHODOLOGY" in err


@pytest.mark.deep
def test_a_second_signal_ends_it_at_once(tmp_path):
    with Command("up", "--dir", tmp_path, "--inputs", "1", "--json") as command:
        command.line()
        children = command.children()
        # Frozen, it would be waited for until the deadline.
        os.kill(pid_of(tmp_path, "worker-0"), signal.SIGSTOP)
        command.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        # Another one than the first, with which it would be one while that is not taken yet.
        code, _out, err = command.end(signal.SIGINT)
        assert code == 1
        assert "second signal" in err
        assert not [child for child in children if child.is_running()]
