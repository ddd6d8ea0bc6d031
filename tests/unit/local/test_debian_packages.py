"""Programs of Debian's packages: PATH comes first, and a missing program gives a clear error."""

from __future__ import annotations

import subprocess

import pytest

from streams.local.child import StackError
from streams.local.debian_packages import PROMTOOL, DebianPackages, Program


@pytest.fixture
def only(tmp_path, monkeypatch):
    """A PATH with nothing on it but what the test puts there."""
    place = tmp_path / "path"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))

    def program(name, script):
        path = place / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return program


def test_what_is_on_the_path_and_new_enough_is_taken(only, tmp_path):
    path = only("promtool", 'echo "promtool, version 2.42.0+ds (branch: debian/sid)"')
    assert DebianPackages(tmp_path / "cache").command(PROMTOOL) == [path]
    path = only("promtool", 'echo "promtool, version 3.5.0" >&2')
    assert DebianPackages(tmp_path / "cache").command(PROMTOOL) == [path]
    assert not (tmp_path / "cache").exists()


def test_an_old_one_is_named_where_nothing_else_is_to_be_had(only, tmp_path):
    only("promtool", 'echo "promtool, version 2.24.1"')
    with pytest.raises(StackError) as raised:
        DebianPackages(tmp_path / "cache").command(PROMTOOL)
    text = str(raised.value)
    assert "expected promtool >= 2.42 on PATH" in text
    assert "Debian's package prometheus" in text
    assert "no apt-get on PATH" in text
    assert "(version 2.24)" in text


def test_the_message_of_apt_is_shown_and_no_partial_file_is_left(only, tmp_path):
    only("apt-get", 'echo "E: first" >&2; echo "E: Unable to fetch some archives" >&2; exit 100')
    only("dpkg-deb", "exit 0")
    with pytest.raises(StackError, match="apt-get: E: Unable to fetch some archives"):
        DebianPackages(tmp_path / "cache").command(PROMTOOL)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_package_is_fetched_once_and_its_program_runs(cache_dir):
    """The real thing, as far as this machine has Debian's packages."""
    messages = []
    packages = DebianPackages(
        cache_dir / "debian", progress=lambda text, _done, _total: messages.append(text)
    )
    try:
        argv = packages.command(PROMTOOL)
    except StackError as error:
        pytest.skip(f"no promtool here: {error}")
    messages.clear()
    assert packages.command(PROMTOOL) == argv
    assert messages == []
    done = subprocess.run([*argv, "--version"], capture_output=True, text=True, check=True)
    assert "promtool" in done.stdout + done.stderr


def test_a_program_that_does_not_run_here_is_not_kept(only, tmp_path):
    wanted = Program(("nothing",), "nothing", "usr/bin/nothing", (1, 0))
    place = tmp_path / "cache" / "nothing" / "usr" / "bin"
    place.mkdir(parents=True)
    (place / "nothing").write_text("for another machine")
    with pytest.raises(StackError, match="does not run here"):
        DebianPackages(tmp_path / "cache").command(wanted)
    assert not (tmp_path / "cache" / "nothing").exists()
