"""Without --config, a command says where the settings of the demo are that runs."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from streams.cli.commands import app
from streams.cli.common import settings_of
from streams.local import ports
from streams.settings import ADDRESSES, announced, elsewhere, load_settings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings that know no local index yet; nobody's own file or variables."""
    for name in ("ECINDEX_CONFIG", "ECINDEX_KAFKA__BOOTSTRAP_SERVERS", "ECINDEX_REDIS__URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ECINDEX_CACHE_DIR", str(tmp_path))
    return load_settings()


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "of a demo" / "ecindex.toml"
    file.parent.mkdir()
    file.write_text("")
    return file


def test_an_index_is_known_while_it_runs(settings, file):
    assert elsewhere(settings, ADDRESSES) == []
    with announced(settings, file):
        assert elsewhere(settings, ADDRESSES) == [file]
        assert elsewhere(settings, ADDRESSES) == [file], "to ask does not forget it"
    assert elsewhere(settings, ADDRESSES) == []


def test_what_a_killed_one_left_is_forgotten(settings, file, tmp_path):
    left = tmp_path / "running" / "12345"
    left.parent.mkdir()
    left.write_text(str(file))
    assert elsewhere(settings, ADDRESSES) == []
    assert not left.exists()


def test_what_cannot_be_read_hides_no_other(settings, file, tmp_path):
    """A file of another user, or one that ended between the listing and the look."""
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "1").symlink_to(tmp_path / "gone")
    with announced(settings, file):
        assert elsewhere(settings, ADDRESSES) == [file]


def test_where_nothing_can_be_looked_at_nothing_is_said(settings, tmp_path):
    """A name that is too long fails as a directory of another user does, also for root."""
    nowhere = tmp_path / ("x" * 300)
    with announced(settings, nowhere):
        assert elsewhere(settings, ADDRESSES) == []
    unknown = load_settings(overrides={"cache_dir": str(nowhere)})
    with announced(unknown, tmp_path):
        assert elsewhere(unknown, ADDRESSES) == []


@pytest.mark.parametrize("given", ADDRESSES)
def test_whoever_says_which_servers_to_ask_is_told_nothing(settings, file, given):
    values = {"kafka.bootstrap_servers": "kafka-1:9092", "redis.url": "redis://redis-1:6379/0"}
    told = load_settings(overrides={given: values[given]})
    with announced(settings, file):
        assert elsewhere(told, ADDRESSES) == []
        assert elsewhere(told, ()) == []


def test_where_nothing_can_be_written_an_index_runs_all_the_same(settings, file):
    (settings.cache_dir / "running").write_text("a file, not a directory")
    with announced(settings, file):
        assert elsewhere(settings, ADDRESSES) == []


def test_the_log_of_a_worker_or_a_board_has_no_other_line(settings, file, capsys):
    """Without a terminal each line of it is JSON."""
    with announced(settings, file):
        settings_of(None, logs=True, kafka__bootstrap_servers=None, redis__url=None)
        assert capsys.readouterr() == ("", "")
        settings_of(None, kafka__bootstrap_servers=None, redis__url=None)
        assert "--config" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("show",), ("shifts", "list"), ("topics", "check")])
def test_a_command_without_config_says_where_the_settings_of_a_running_index_are(
    settings, file, command
):
    nowhere = ports.choose(1)[0]
    option = "--bootstrap" if command == ("topics", "check") else "--redis"
    address = f"redis://127.0.0.1:{nowhere}" if option == "--redis" else f"127.0.0.1:{nowhere}"
    with announced(settings, file):
        # Its default address may have a server here: only what is told before it asks is looked at.
        told = CliRunner().invoke(app, command).stderr
        assert f"--config '{file}'" in told, "as it is to be typed: its directory has spaces"
        assert "--config" not in CliRunner().invoke(app, (*command, option, address)).stderr
