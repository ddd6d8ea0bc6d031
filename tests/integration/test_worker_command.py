"""`ecindex worker` as a process: it names wrong settings and missing topics, and waits for topics."""

from __future__ import annotations

import signal
import urllib.request

import pytest
from support.command import Command

pytestmark = pytest.mark.stack


@pytest.fixture
def config(stack, unique, tmp_path):
    """Settings of an installation of this test's own, without any topic yet."""
    file = tmp_path / "ecindex.toml"
    file.write_text(
        f'data_dir = "data"\n'
        f'[kafka]\nbootstrap_servers = "{stack.bootstrap}"\n'
        f'[redis]\nurl = "{stack.redis_url}"\nprefix = "{unique("redis")}"\n'
        f'[topics]\norders = "{unique("orders")}"\npayments = "{unique("payments")}"\n'
        f'prefix = "{unique("own")}"\npartials_partitions = 2\n'
    )
    return file


def create_topics(config):
    with Command("topics", "create", "--inputs", "2", "--config", config, "--json") as command:
        code, _out, err = command.finish()
    assert code == 0, err


def test_a_worker_without_topics_says_which_and_how_to_make_them(config):
    with Command("worker", "--config", config) as command:
        code, out, err = command.finish()
    assert (code, out) == (2, "")  # a supervisor must not start it again
    assert "topics that do not exist: orders-" in err
    assert "ecindex topics create" in err


@pytest.mark.parametrize("name", ["worker", "show", "doctor"])
@pytest.mark.parametrize(
    ("variable", "text", "setting"),
    [
        ("ECINDEX_METRICS__HOSTS", "metrics hunter2", "metrics.hosts"),
        ("ECINDEX_REDIS", "hunter2", "redis"),
        ("ECINDEX_REDIS__URL", "redis://h:1/0?password=hunter2", "redis.url"),
    ],
)
def test_a_wrong_setting_ends_a_command_with_its_name(config, name, variable, text, setting):
    with Command(name, "--config", config, env={variable: text}) as command:
        code, out, err = command.finish()
    assert (code, out) == (2, "")
    assert f"{setting}: " in err
    assert "Traceback" not in err
    assert setting == "metrics.hosts" or "hunter2" not in err


@pytest.mark.deep
def test_a_worker_that_waits_starts_once_its_topics_are_there(config):
    arguments = ("worker", "--config", config, "--wait-for-topics", "300", "--json")
    with Command(*arguments) as command:
        create_topics(config)
        url = command.line()["metrics"]
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b"ecindex_build_info" in answer.read()
        code, out, err = command.end(signal.SIGTERM)
    assert (code, out) == (0, ""), "stdout is for results; what is logged goes to stderr"
    assert '"event": "listening"' in err
