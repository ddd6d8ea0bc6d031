"""`ecindex worker` as a process: it names wrong settings and missing topics, and waits for topics."""

from __future__ import annotations

import signal
import urllib.request

import pytest
from aiokafka import AIOKafkaProducer
from support.command import Command
from support.kafka import create_topic

from streams.flow.chain import CheckpointRecord, encode_checkpoint
from streams.settings import load_methodology, load_settings

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


@pytest.mark.deep
async def test_an_input_of_another_name_than_the_state_is_of_is_refused_with_its_setting(
    config, stack
):
    """Its log was counted on top of the old one, and as_of waited for the old one for ever."""
    create_topics(config)
    settings = load_settings(config)
    edition, topics = load_methodology(settings).edition, settings.topics
    text, other = config.read_text(), f"{topics.orders}2"

    def asked(*arguments):
        with Command(*arguments, "--config", config) as command:
            return command.finish()

    config.write_text(text.replace(topics.orders, other))
    await create_topic(stack.bootstrap, other, 2)
    asked("topics", "create")  # nothing was counted yet, and so nothing is refused
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap) as producer:
        for topic in (topics.orders, topics.payments):
            made = CheckpointRecord(edition, "", "id", 2, 1, None, 1, 7, {}, [], [], places=2)
            changelog = f"{topics.prefix}-e{edition}-checkpoint-{topic}-changelog"
            await producer.send_and_wait(changelog, encode_checkpoint(made), b"key", partition=1)
    fix = f"set topics.orders to {topics.orders} again, or raise `edition`"
    for code, arguments in (
        (2, ("worker",)),
        (1, ("topics", "check")),
        (1, ("doctor",)),
        (1, ("audit",)),
    ):
        ended, out, err = asked(*arguments)
        assert ended == code, (arguments, out, err)
        said = " ".join((out + err).split())
        assert "topics.orders" in said, (arguments, said)
        assert fix in said, (arguments, said)
    config.write_text(text)
    code, out, err = asked("topics", "check")
    assert code == 0, (out, err)  # the changelog of the other name holds nothing
