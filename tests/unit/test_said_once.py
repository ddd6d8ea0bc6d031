"""What a command says of a failure: its own words alone, and the names that it would have taken."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from streams.cli.commands import app
from streams.console.errors import OperationError
from streams.local import ports
from streams.operate import worker_process
from streams.settings import load_methodology, load_settings


@pytest.fixture
def nowhere():
    """An address where nothing listens."""
    return f"{ports.LOOPBACK}:{ports.choose(1)[0]}"


def test_a_command_writes_no_line_of_a_library(nowhere):
    """In a process of its own: pytest takes what Python prints where no logs are configured."""
    arguments = [sys.executable, "-m", "streams.cli", "topics", "check", "--bootstrap", nowhere]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    server = f"Kafka at {nowhere} (kafka.bootstrap_servers)"
    assert done.stderr == f"error: {server}: none of these servers answers\n"


@contextlib.contextmanager
def refusing():
    """Address of a server that speaks no TLS, and ends what begins with it."""
    with socket.create_server((ports.LOOPBACK, 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.sendall(b"not TLS")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{ports.LOOPBACK}:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_server_that_answers_and_refuses_is_said_to_and_why(monkeypatch, level):
    """aiokafka raises the same for a wrong password as for a server that is away."""
    monkeypatch.setenv("ECINDEX_KAFKA__SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("ECINDEX_LOG__LEVEL", level)
    with refusing() as server:
        result = CliRunner().invoke(app, ("topics", "check", "--bootstrap", server))
    assert result.exit_code == 1
    assert "none of these servers lets us in: [SSL: WRONG_VERSION_NUMBER]" in result.stderr
    assert "kafka.security_protocol" in result.stderr


def test_a_worker_that_waits_for_its_broker_says_so_now_and_then(nowhere, monkeypatch, caplog):
    times_ms = iter(range(0, 1_000_000, 2_000))
    monkeypatch.setattr(worker_process, "monotonic_ms", lambda: next(times_ms))
    monkeypatch.setattr(worker_process, "_RETRY_S", 0)
    settings = load_settings(overrides={"kafka.bootstrap_servers": nowhere})
    with capture_logs() as said, pytest.raises(OperationError, match="none of these servers"):
        worker_process.asyncio.run(worker_process._discover(settings, 1, 0.0))
    assert [each["event"] for each in said] == ["broker_not_reachable"] * 4
    assert said[0]["servers"] == nowhere
    assert not caplog.records, "nothing of a library"


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "XX", "orders", "all", "1m"),
        ("audit", "--market", "XX"),
        ("export", "days", "--csv", "-", "--market", "XX"),
        ("clock", "reset", "XX", "--reason", "why"),
        ("expect", "XX", "all", "2026-12-01", "2026-12-02", "2"),
    ],
)
def test_a_market_that_there_is_not_is_answered_with_those_that_there_are(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "'XX' is not in methodology.toml; it has HOME" in result.stderr


def test_a_member_that_there_is_not_is_answered_with_those_of_its_dimension(monkeypatch):
    async def declared(settings):
        return load_methodology(settings).markets

    monkeypatch.setattr("streams.operate.seeding.markets_in_force", declared)
    day = ("2026-12-01", "2026-12-02", "2")
    result = CliRunner().invoke(app, ("expect", "HOME", "category:bookz", *day))
    assert result.exit_code == 1
    assert "; category has " in result.stderr
    assert "groceries, home_garden" in result.stderr
