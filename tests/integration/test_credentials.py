"""Every client of ours gets in where a password is asked for, over TLS: Kafka by SASL, Redis by AUTH."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import ssl
import subprocess
import threading

import pytest
from redis import Redis
from support.command import Command, until
from support.methodologies import DEMO

from streams.local import ports
from streams.local.local_stack import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.deep, pytest.mark.slow]

USER, PASSWORD = "me", "tell-nobody"
JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="broker" password="other" user_{USER}="{PASSWORD}";'
)


@pytest.fixture
def certificate(tmp_path):
    """(certificate, key, both in one file) for 127.0.0.1, signed by itself, PEM."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    cert, key, both = (tmp_path / f"{name}.pem" for name in ("cert", "key", "both"))
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make += ["-keyout", key, "-out", cert]
    subprocess.run(make, check=True, capture_output=True)
    both.write_text(key.read_text() + cert.read_text())
    return cert, key, both


@pytest.fixture
def behind_tls(certificate):
    """Function of a plain port: a port that speaks TLS before it. Valkey from PyPI speaks none."""
    cert, key, _both = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def serve(plain):
        async def pump(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

        async def handle(reader, writer):
            inner, outer = await asyncio.open_connection("127.0.0.1", plain)
            ends = asyncio.gather(pump(reader, outer), pump(inner, writer), return_exceptions=True)
            await ends

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
        return server.sockets[0].getsockname()[1]

    yield lambda plain: asyncio.run_coroutine_threadsafe(serve(plain), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture
def guarded(tmp_path, cache_dir, certificate, behind_tls):
    """Settings, as variables, that lead to a Kafka and a Redis with passwords."""
    plain, controller, sasl = ports.choose(3)
    (tmp_path / "kafka").mkdir()
    ports.remember(tmp_path / "kafka" / "ports.json", (plain, controller))
    # The plain listener stays for the broker itself and for the stack's question whether it is up.
    own = f"PLAINTEXT://127.0.0.1:{plain}"
    theirs = f"THEIRS://127.0.0.1:{sasl}"
    settings = {
        "listeners": f"{own},CONTROLLER://127.0.0.1:{controller},{theirs}",
        "advertised.listeners": f"{own},{theirs}",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,THEIRS:SASL_SSL"
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.name.theirs.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.theirs.plain.sasl.jaas.config": JAAS,
        "listener.name.theirs.ssl.keystore.type": "PEM",
        "listener.name.theirs.ssl.keystore.location": str(certificate[2]),
    }
    with LocalStack(tmp_path, cache_dir=cache_dir, kafka_settings=settings) as stack:
        with Redis.from_url(stack.redis_url) as redis:
            redis.config_set("requirepass", PASSWORD)
        yield {
            "ECINDEX_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{sasl}",
            "ECINDEX_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "ECINDEX_KAFKA__TLS_CA_FILE": str(certificate[0]),
            "ECINDEX_KAFKA__SASL_MECHANISM": "PLAIN",
            "ECINDEX_KAFKA__SASL_USERNAME": USER,
            "ECINDEX_KAFKA__SASL_PASSWORD": PASSWORD,
            "ECINDEX_REDIS__URL": f"rediss://127.0.0.1:{behind_tls(stack.redis.ports[0])}/0",
            "ECINDEX_REDIS__TLS_CA_FILE": str(certificate[0]),
            "ECINDEX_REDIS__PASSWORD": PASSWORD,
            "ECINDEX_DATA_DIR": str(tmp_path / "data"),
            "ECINDEX_METHODOLOGY": str(DEMO),
        }


def run(*arguments, env):
    with Command(*arguments, env=env) as command:
        return command.finish()


def test_a_worker_publishes_through_both(guarded):
    code, _out, err = run("topics", "create", "--inputs", "2", "--arrival", "producer", env=guarded)
    assert code == 0, err
    with Command("worker", "--json", env=guarded) as worker:
        worker.line()
        shop = ("simulate", "--markets", "PK", "--for", "8", "--backfill", "120", "--json")
        code, _out, err = run(*shop, env=guarded)
        assert code == 0, err

        def published():
            _code, out, _err = run("show", "PK", "--json", env=guarded)
            return out and json.loads(out)[0]["snapshot"]

        assert until(published)["market"] == "PK"
        code, _out, err = run("show", env=guarded | {"ECINDEX_REDIS__PASSWORD": "wrong"})
        assert code == 1
        assert "redis.url" in err
        unknown = {name: v for name, v in guarded.items() if name != "ECINDEX_REDIS__TLS_CA_FILE"}
        code, _out, err = run("show", env=unknown)
        assert code == 1
        assert "certificate" in err.lower()
        code, out, err = worker.end(signal.SIGTERM)
        assert (code, out) == (0, ""), err
        assert PASSWORD not in err
