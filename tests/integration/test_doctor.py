"""`ecindex doctor` on installations that are well, half made, changed, and dead."""

from __future__ import annotations

import msgspec
import pytest
from support.flow_harness import order, payment
from support.installation import Installation
from support.kafka import alter_topic

from streams.clock import now_ms
from streams.flow import plain
from streams.local import ports
from streams.worker import batches

pytestmark = pytest.mark.stack


async def doctor(installed, *arguments, code):
    _, out, _ = await installed.command("doctor", *arguments, "--json", check=code)
    found = msgspec.json.decode(out.splitlines()[-1])
    return found, {
        level: {each["check"]: each for each in found["findings"] if each["level"] == level}
        for level in ("ok", "unknown", "warning", "wrong")
    }


@pytest.fixture
def bare(stack, unique, tmp_path):
    return Installation(stack, unique("doc"), tmp_path, inputs=2)


async def test_without_a_broker_it_says_so_and_fails(bare):
    bare.overrides["kafka.bootstrap_servers"] = f"127.0.0.1:{ports.choose(1)[0]}"
    _, by_level = await doctor(bare, code=1)
    assert "bootstrap_servers" in by_level["wrong"]["broker"]["fix"]
    compiled = plain.COMPILED and batches.COMPILED
    assert "installation" in by_level["ok" if compiled else "warning"]


async def test_secrets_are_masked(bare):
    bare.overrides["redis.password"] = "open-sesame"
    _, out, err = await bare.command("doctor", check=1)
    assert "redis.password = ******** (environment ECINDEX_REDIS__PASSWORD)" in out
    assert "open-sesame" not in out + err


@pytest.mark.deep
async def test_missing_topics_are_named_with_what_creates_them(bare):
    _, by_level = await doctor(bare, code=1)
    assert "ecindex topics create" in by_level["wrong"]["topics"]["fix"]
    assert by_level["wrong"]["workers"]["fix"] == "ecindex worker"
    assert by_level["ok"]["broker"]


@pytest.mark.deep
async def test_a_sound_installation_and_then_what_breaks_it(bare):
    await bare.create_topics()
    child = bare.start_worker()
    async with bare.producer() as producer:
        for number in range(20):
            at_ms = now_ms()
            await bare.send(producer, "orders", order(f"o{number}", at_ms), at_ms=at_ms)
            await bare.send(producer, "payments", payment(f"p{number}", at_ms), at_ms=at_ms)
        await producer.flush()
    assert (await bare.audit()).equal
    url = bare.metrics_of(child)
    found, by_level = await doctor(bare, "--worker", url, code=0)
    assert by_level["warning"].keys() == {"input arrival"}  # this stack takes producers' times
    assert by_level["ok"].keys() >= {
        "broker", "topics", "methodology", "identity", "workers", "lag", "redis", "readiness",
    }  # fmt: skip
    origins = {each["setting"]: each["origin"] for each in found["settings"]}
    assert origins["topics.prefix"] == "environment ECINDEX_TOPICS__PREFIX"
    assert origins["intervals.partials_ms"] == "default"

    await alter_topic(
        bare.stack.bootstrap, bare.settings.topics.orders, {"retention.ms": "86400000"}
    )

    async def warned():  # a broker shows what was altered a little later
        _, by_level = await doctor(bare, code=0)
        return "input retention" in by_level["warning"] and by_level

    by_level = await bare.until(warned)
    assert by_level["warning"]["input retention"]["found"] == "1 days"
    assert by_level["unknown"].keys() == {"readiness"}
    # What doctor advises can be typed as it stands, and mends it.
    for check in ("input retention", "input arrival"):
        program, *arguments = by_level["warning"][check]["fix"].split()
        assert program == "ecindex"
        await bare.command(*arguments, check=0)

    async def mended():
        _, by_level = await doctor(bare, code=0)
        where = by_level["warning"].get("input arrival", {}).get("where")
        return len(by_level["warning"]) == 1 and where == bare.settings.topics.orders

    await bare.until(mended)

    changed = bare.directory / "methodology.toml"
    text = bare.settings.methodology.read_text()
    changed.write_text(text.replace("grace_ms = 120000", "grace_ms = 130000"))
    bare.overrides["methodology"] = changed
    _, by_level = await doctor(bare, code=1)
    assert "restore the file" in by_level["wrong"]["methodology"]["fix"]
    del bare.overrides["methodology"]

    bare.stop()

    async def left():
        _, by_level = await doctor(bare, "--worker", url, code=1)
        return "workers" in by_level["wrong"] and by_level["wrong"]

    wrong = await bare.until(left)
    assert wrong["workers"]["fix"] == "ecindex worker"
    assert wrong["readiness"]["found"]
