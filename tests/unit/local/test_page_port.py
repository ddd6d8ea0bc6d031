"""The page of a local index is where the settings link to it."""

from __future__ import annotations

import socket

import pytest

from streams.local import ports
from streams.local.local_index import LocalIndex, UpOptions
from streams.settings import load_settings


@pytest.fixture
def given(tmp_path):
    """(page port, what was told) of an index whose settings link to an address, before its launch."""

    def of(address, board_port=0):
        told = []
        settings = load_settings(None, {"links.board": address, "board.port": board_port})
        index = LocalIndex(tmp_path, settings, UpOptions(directory=tmp_path), tell=told.append)
        return index.choose_page_port(), told

    return of


def test_the_page_takes_the_port_that_its_link_names_unless_it_is_not_free(given):
    """`up` linked to a port on which no page was."""
    (free,) = ports.choose(1)
    assert given(f"http://127.0.0.1:{free}") == (free, [])
    with socket.socket() as other:
        other.bind((ports.LOOPBACK, 0))
        other.listen()
        taken = other.getsockname()[1]
        port, (warning,) = given(f"http://localhost:{taken}")
        assert port not in (taken, 0)
        assert f"links.board names port {taken}, which is not free" in warning


def test_a_port_that_is_set_and_a_link_to_elsewhere_decide_nothing_else(given):
    assert given("http://127.0.0.1:18980", board_port=18_981) == (18_981, [])
    port, told = given("https://index.example")
    assert (port not in (0, 443), told) == (True, [])
