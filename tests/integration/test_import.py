"""``ecindex import`` against a real broker, through the command line."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from support.kafka import read_all
from support.methodologies import OLIST
from support.olist_files import write_olist
from typer.testing import CliRunner

from streams.cli.commands import app
from streams.index.partials import ORDERS
from streams.index.stamps import IMPORTED
from streams.operate.import_files import open_source
from streams.rehearsal.history import count_files, count_log
from streams.settings import default_config, load_methodology, load_settings

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(stack, unique, monkeypatch):
    names = {"TOPICS__PREFIX": "ecindex", "TOPICS__ORDERS": "orders", "TOPICS__PAYMENTS": "pay"}
    for variable, stem in names.items():
        monkeypatch.setenv(f"ECINDEX_{variable}", unique(stem))
    monkeypatch.setenv("ECINDEX_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap)
    monkeypatch.setenv("ECINDEX_METHODOLOGY", str(OLIST))
    return load_settings()


@pytest.fixture
def shop(tmp_path):
    write_olist(tmp_path, orders=120)
    return tmp_path


def run(*argv):
    """Run a command in this process; exit code, output, and the JSON of the last line."""
    result = CliRunner().invoke(app, [str(part) for part in (*argv, "--json")])
    lines = result.stdout.splitlines()
    return result, msgspec.json.decode(lines[-1]) if lines else None


def log_of(settings):
    """Every record of both inputs."""
    bootstrap = settings.kafka.bootstrap_servers
    names = settings.topics.orders, settings.topics.payments
    return {
        topic: asyncio.run(read_all(bootstrap, name))
        for topic, name in zip(("orders", "payments"), names, strict=True)
    }


def assert_log_holds(settings, directory):
    log = log_of(settings)
    expected = list(open_source("olist", directory).events)
    for topic, records in log.items():
        sent = Counter((e.key, e.value, e.timestamp_ms) for e in expected if e.topic == topic)
        assert Counter((r.key, r.value, r.timestamp) for r in records) == sent
        last = {}
        for record in records:
            assert tuple(record.headers) == IMPORTED, "its times are meant, however far they jump"
            assert record.timestamp >= last.get(record.partition, 0), "event-time order"
            last[record.partition] = record.timestamp


def assert_rehearsed_alike(settings, directory):
    """``rehearse --log`` counts what ``rehearse DIR`` does."""
    methodology = load_methodology(settings)
    from_files = count_files(settings, directory, methodology).markets["BR"]
    from_log = asyncio.run(count_log(settings, methodology, lambda _: None)).markets["BR"]
    assert from_log.minutes == from_files.minutes
    assert sum(counts[ORDERS] for counts in from_log.minutes.values() if ORDERS in counts) == 120
    assert from_log.sources == [True, True]


def test_olist_is_imported_with_its_own_times(settings, shop):
    created, _ = run("topics", "create", "--inputs", 3, "--arrival", "producer")
    assert created.exit_code == 0, created.output
    result, summary = run("import", "olist", shop)
    assert result.exit_code == 0, result.output
    assert summary["by_type"] == {
        "order.cancelled": 12,
        "order.placed": 120,
        "payment.captured": 120,
    }
    assert summary["complete"]
    assert summary["events"] == 252
    assert summary["skipped"] == {}
    assert summary["filled"] == {"category: unknown": 120}
    assert summary["first_occurred_at"] == "2018-01-01T02:00:00.000Z"
    assert summary["last_occurred_at"] == "2018-01-06T01:10:00.000Z"
    assert_log_holds(settings, shop)
    assert_rehearsed_alike(settings, shop)


def test_it_pauses_where_it_is_asked_to(settings, shop):
    run("topics", "create", "--inputs", 1, "--arrival", "producer")
    result, summary = run("import", "olist", shop, "--pause-after", 0.5, "--pause-s", 1.5)
    assert result.exit_code == 0, result.output
    assert summary["seconds"] > 1.4, "the pause itself"
    assert_log_holds(settings, shop)


def test_a_stopped_import_says_that_it_is_not_complete(settings, shop):
    run("topics", "create", "--inputs", 1, "--arrival", "producer")
    command = [str(Path(sys.executable).with_name("ecindex")), "import", "olist", str(shop)]
    command += ["--pause-after", "0.25", "--pause-s", "300", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while process.poll() is None and not log_of(settings)["orders"]:
            pass  # the half of a quarter that comes before the pause
        process.terminate()
        output, _ = process.communicate()
    summary = msgspec.json.decode(output.splitlines()[-1])
    assert process.returncode == 1
    assert not summary["complete"]
    assert summary["events"] == 63
    assert sum(map(len, log_of(settings).values())) == 63


def test_inputs_that_the_broker_stamps_are_refused_before_anything_is_sent(settings, shop):
    run("topics", "create", "--inputs", 1, "--arrival", "broker")
    result, _ = run("import", "olist", shop)
    assert result.exit_code == 1
    assert "message.timestamp.type=CreateTime" in result.stderr
    assert not any(log_of(settings).values())


def test_inputs_of_a_local_index_are_stamped_by_the_producer_from_the_first_import_on(
    settings, shop, monkeypatch
):
    """`ecindex up` sets this: its inputs are the broker's to stamp until somebody brings old data."""
    monkeypatch.setenv("ECINDEX_TOPICS__IMPORT_RESTAMPS", "true")
    run("topics", "create", "--inputs", 1, "--arrival", "broker")
    result, _ = run("import", "olist", shop)
    assert result.exit_code == 0, result.stderr
    assert_log_holds(settings, shop)
    result, _ = run("topics", "check", "--inputs", 1, "--arrival", "producer")
    assert result.exit_code == 0, "retention too: it would delete what is old on arrival"


def test_markets_that_the_workers_would_not_know_are_refused_before_anything_is_sent(
    settings, shop, monkeypatch
):
    run("topics", "create", "--inputs", 1, "--arrival", "producer")
    monkeypatch.delenv("ECINDEX_METHODOLOGY")
    result, _ = run("import", "olist", shop)
    assert result.exit_code == 2
    assert f"found {default_config('methodology.toml')} (default)" in result.stderr
    assert f"the markets of `import olist`: 'BR', as {OLIST}; " in result.stderr
    assert f"`ecindex up --config {OLIST.with_name('ecindex.toml')}`" in result.stderr
    assert not any(log_of(settings).values())


def test_wrong_directories_and_settings_have_their_exit_codes(settings, tmp_path):
    result, _ = run("import", "csv", tmp_path)
    assert result.exit_code == 1
    assert "orders.csv" in result.stderr
    result, _ = run("import", "olist", tmp_path, "--pause-after", 2)
    assert result.exit_code == 2
    assert "--pause-after" in result.stderr
    result, _ = run("import", "magento", tmp_path)
    assert result.exit_code == 2
