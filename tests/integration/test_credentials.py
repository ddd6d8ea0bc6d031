"""Every client of ours gets in where a password is asked for: Kafka by SASL, Redis by AUTH."""

from __future__ import annotations

import json
import signal

import pytest
from redis import Redis
from support.command import Command, until

from streams.ops import ports
from streams.ops.local_stack import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

USER, PASSWORD = "me", "tell-nobody"
JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="broker" password="other" user_{USER}="{PASSWORD}";'
)


@pytest.fixture
def guarded(tmp_path, cache_dir):
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
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,THEIRS:SASL_PLAINTEXT"
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.name.theirs.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.theirs.plain.sasl.jaas.config": JAAS,
    }
    with LocalStack(tmp_path, cache_dir=cache_dir, kafka_settings=settings) as stack:
        with Redis.from_url(stack.redis_url) as redis:
            redis.config_set("requirepass", PASSWORD)
        yield {
            "ECINDEX_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{sasl}",
            "ECINDEX_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "ECINDEX_KAFKA__SASL_MECHANISM": "PLAIN",
            "ECINDEX_KAFKA__SASL_USERNAME": USER,
            "ECINDEX_KAFKA__SASL_PASSWORD": PASSWORD,
            "ECINDEX_REDIS__URL": stack.redis_url,
            "ECINDEX_REDIS__PASSWORD": PASSWORD,
            "ECINDEX_DATA_DIR": str(tmp_path / "data"),
        }


def run(*arguments, env):
    with Command(*arguments, env=env) as command:
        return command.finish()


def test_a_worker_publishes_through_both(guarded):
    code, _out, err = run("topics", "create", "--inputs", "2", "--arrival", "producer", env=guarded)
    assert code == 0, err
    with Command("worker", "--json", env=guarded) as worker:
        worker.line()
        shop = ("simulate", "--markets", "PK", "--for", "20", "--backfill", "120", "--json")
        code, _out, err = run(*shop, env=guarded)
        assert code == 0, err

        def published():
            _code, out, _err = run("show", "PK", "--json", env=guarded)
            return out and json.loads(out)[0]["snapshot"]

        assert until(published)["market"] == "PK"
        code, out, err = worker.end(signal.SIGTERM)
        assert (code, out) == (0, ""), err
        assert PASSWORD not in err


def test_without_the_password_nobody_gets_in(guarded):
    code, _out, err = run("show", env=guarded | {"ECINDEX_REDIS__PASSWORD": "wrong"})
    assert code == 1
    assert "redis.url" in err
