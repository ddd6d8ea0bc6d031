"""Exit codes and messages: 0 ok, 1 something is wrong, 2 usage or settings."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from streams.cli.commands import COMMANDS, GROUPS, app
from streams.local import ports


@pytest.fixture
def run(monkeypatch):
    """Run a command in this process, without the settings of whoever runs the tests."""
    for name in ("ECINDEX_CONFIG", "ECINDEX_KAFKA__BOOTSTRAP_SERVERS", "ECINDEX_REDIS__URL"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments, env=None):
        return CliRunner().invoke(app, arguments, env=env)

    return invoke


@pytest.fixture
def nowhere():
    """An address where nothing listens."""
    return f"{ports.LOOPBACK}:{ports.choose(1)[0]}"


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPS])
def test_every_command_explains_itself(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_imports_nothing_that_a_worker_needs():
    """Two seconds of imports before `--help` answers, and before `demo` starts Kafka."""
    code = (
        "import sys, streams.cli.commands\n"
        "print([name for name in ('faust', 'redis', 'aiohttp', 'aiokafka', 'pydantic', 'numpy')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [("topics", "create"), ("topics", "check"), ("topics", "migrate"), ("up",), ("demo",)],
)
def test_more_partitions_than_a_broker_bears_are_refused_before_it_is_asked(run, command):
    for inputs in ("0", "1001", "100000000"):  # 1000 would be asked for
        result = run(*command, "--inputs", inputs)
        assert result.exit_code == 2
        assert "--inputs" in result.output


def test_a_setting_of_the_command_line_that_is_wrong_is_named(run):
    result = run("topics", "check", "--bootstrap", "no-port")
    assert result.exit_code == 2
    assert "kafka.bootstrap_servers" in result.stderr
    assert "'no-port'" in result.stderr
    assert "command line" in result.stderr


def test_a_setting_of_the_environment_that_is_wrong_is_named(run):
    result = run("up", env={"ECINDEX_INTERVALS__STALE_AFTER_S": "soon"})
    assert result.exit_code == 2
    assert "intervals.stale_after_s" in result.stderr
    assert "environment ECINDEX_INTERVALS__STALE_AFTER_S" in result.stderr


def test_an_unknown_setting_is_named_with_the_one_that_was_meant(run, tmp_path):
    config = tmp_path / "my.toml"
    config.write_text('[redis]\nurll = "redis://127.0.0.1:1/0"\n')
    result = run("show", "--config", str(config))
    assert result.exit_code == 2
    assert "redis.urll" in result.stderr
    assert "did you mean redis.url?" in result.stderr


def test_an_unknown_option_is_a_usage_error(run):
    assert run("up", "--wrokers", "2").exit_code == 2


@pytest.mark.parametrize("text", ["soon", "0s", "-5s", "inf", "5 minutes", ""])
def test_an_invalid_duration_is_a_usage_error(run, text):
    result = run("demo", "--for", text)
    assert result.exit_code == 2
    assert "--for" in result.stderr


def test_watching_and_json_exclude_each_other(run):
    result = run("show", "--watch", "--json")
    assert result.exit_code == 2


def test_a_missing_redis_is_an_error_and_its_address_is_named(run, nowhere):
    result = run("show", "--redis", f"redis://{nowhere}/0")
    assert result.exit_code == 1
    assert nowhere in result.stderr


def test_a_missing_kafka_is_an_error_and_its_address_is_named(run, nowhere):
    result = run("topics", "check", "--bootstrap", nowhere)
    assert result.exit_code == 1
    assert nowhere in result.stderr


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (("demo",), "psutil", "local"),
        (("up",), "psutil", "local"),
        (("bench", "fold"), "psutil", "local"),
        (("notify", "test", "mail"), "matplotlib", "notify"),
    ],
)
def test_without_the_extra_the_command_that_installs_it_is_named(arguments, missing, extra):
    """A production machine has no psutil; where it is missing is an import hook's business."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{missing}':\n"
        f"            raise ModuleNotFoundError(\"No module named '{missing}'\", name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from streams.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert f"pip install 'ecindex[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
