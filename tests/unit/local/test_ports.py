"""Ports are free, loopback, distinct, and remembered only while nobody else has them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from streams.local import ports
from streams.local.child import StackError


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, ports.choose(1)[0]))
        server.listen()
        yield server.getsockname()[1]


def test_chosen_ports_are_distinct_and_below_the_ephemeral_range():
    chosen = ports.choose(20)
    assert len(set(chosen)) == 20
    assert all(ports.FIRST_PORT <= port < ports.LAST_PORT for port in chosen)


def test_a_taken_port_is_not_free(listener):
    assert not ports.is_free(listener)


def test_a_listener_is_named_by_its_process(listener):
    assert ports.listens(os.getpid(), listener)
    assert not ports.listens(os.getppid(), listener)


def test_ports_are_remembered_while_they_are_free(tmp_path, listener):
    path = tmp_path / "ports.json"
    assert ports.remembered(path, 2) is None
    chosen = ports.choose(2)
    ports.remember(path, chosen)
    assert ports.remembered(path, 2) == chosen
    assert ports.remembered(path, 1) is None, "another number of ports is another server"
    ports.remember(path, (listener,))
    assert ports.remembered(path, 1) is None, "somebody has it now"


def test_a_port_that_another_process_chose_is_left_to_it_while_its_server_is_down(tmp_path):
    path = tmp_path / "ports.json"
    choosing = "from streams.local import ports; print(*ports.choose(1), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", choosing], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        theirs = int(other.stdout.readline())
        ports.remember(path, (theirs,))
        assert ports.is_free(theirs), "no server listens there yet"
        assert not ports.claim(theirs)
        assert ports.remembered(path, 1) is None
        other.communicate("\n")
    assert ports.claim(theirs), "it ended"
    assert ports.remembered(path, 1) == (theirs,)


def test_a_port_is_not_chosen_again_while_its_server_is_not_up(monkeypatch):
    (port,) = ports.choose(1)
    monkeypatch.setattr(ports, "FIRST_PORT", port)
    monkeypatch.setattr(ports, "LAST_PORT", port + 1)
    with pytest.raises(StackError):
        ports.choose(1)


def test_a_torn_file_is_as_good_as_none(tmp_path):
    path = tmp_path / "ports.json"
    path.write_text("[1, ")
    assert ports.remembered(path, 1) is None
