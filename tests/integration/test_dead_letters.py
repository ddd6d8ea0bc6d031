"""Dead letters listed, sent again, and a halted partition released, through the command line."""

from __future__ import annotations

import shlex

import aiohttp
import msgspec
import pytest
from support.flow_harness import order, payment
from support.installation import Installation
from support.kafka import committed, delete_topic, read_all

from streams.clock import now_ms
from streams.publish.http import RELEASE_HEADER
from streams.settings import load_methodology
from streams.worker import names

pytestmark = pytest.mark.stack


@pytest.fixture
async def installed(stack, unique, tmp_path):
    found = Installation(stack, unique("d"), tmp_path, inputs=2)
    await found.create_topics()
    found.start_worker()
    yield found
    found.stop()


async def asked(installed, *arguments, code=0):
    _, out, _ = await installed.command(*arguments, "--json", check=code)
    return msgspec.json.decode(out.splitlines()[-1])


async def worker_url(installed):
    async def printed():
        return installed.metrics_of(installed.workers[-1])

    return await installed.until(printed)


@pytest.mark.deep
async def test_dead_letters_are_listed_and_sent_again_and_counted_once(installed):
    at_ms = now_ms()
    async with installed.producer() as producer:
        await installed.send(producer, "orders", order("good", at_ms), at_ms=at_ms, partition=0)
        bad = [b"{", order("zz", at_ms, market="ZZ"), order("cur", at_ms, currency="EUR")]
        for event in bad:
            await installed.send(producer, "orders", event, at_ms=at_ms, partition=0)
        old = payment("old", at_ms - 300_000)
        await installed.send(producer, "payments", payment("p", at_ms), at_ms=at_ms, partition=1)
        await installed.send(producer, "payments", old, at_ms=at_ms, partition=1)
        await producer.flush()
    assert (await installed.audit()).equal
    listed = await asked(installed, "dead-letters", "list")
    reasons = {"invalid_json": 1, "unknown_market": 1, "wrong_currency": 1}
    assert listed["by_reason"] == reasons
    orders = installed.settings.topics.orders
    assert {each["source"] for each in listed["letters"]} == {f"{orders}-0@{n}" for n in (1, 2, 3)}
    late = await asked(installed, "late", "list")
    assert (late["total"], late["letters"][0]["reason"]) == (1, "too_late")
    one = await asked(installed, "dead-letters", "list", "--reason", "unknown_market")
    assert '"market": "ZZ"' in one["letters"][0]["value"]
    told = installed.workers[0].log_tail(10_000)
    lines = [msgspec.json.decode(line) for line in told.splitlines() if "record_set_aside" in line]
    places = {
        (line["reason"], f"{line['topic']}-{line['partition']}@{line['offset']}") for line in lines
    }
    assert ("unknown_market", f"{orders}-0@2") in places
    assert {reason for reason, _place in places} == {*reasons, "too_late"}
    assert "ZZ" not in told, "a log never says what a record holds"

    # The market is still unknown: the copy is a dead letter as well, and still the same letter.
    await installed.command("dead-letters", "replay", check=1)  # asked, and nobody answers
    chosen = ("--reason", "unknown_market", "--yes")
    assert (await asked(installed, "dead-letters", "replay", *chosen))["sent"] == 1
    assert (await installed.audit()).equal

    async def dead_again():
        found = await asked(installed, "dead-letters", "list")
        (letter,) = [each for each in found["letters"] if each["reason"] == "unknown_market"]
        return letter["again"] and (found["by_reason"], letter)

    by_reason, letter = await installed.until(dead_again)
    assert by_reason == reasons
    assert letter["replayed_as"] == f"{orders}-0@4"
    assert (await asked(installed, "dead-letters", "replay", *chosen))["sent"] == 0
    assert (await asked(installed, "dead-letters", "replay", "--again", *chosen))["sent"] == 1
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())


@pytest.mark.deep
async def test_dead_letters_of_a_recreated_input_are_listed_and_sent_and_not_those_of_the_old_log(
    installed,
):
    topic = installed.settings.topics.orders

    async def reject(event):
        async with installed.producer() as producer:
            for partition in (0, 1):
                await installed.send(producer, "orders", event, at_ms=now_ms(), partition=partition)
            await producer.flush()

    async def listed():
        found = await asked(installed, "dead-letters", "list")
        return found["total"] == 2 and found

    async def counted():
        """A state of the old log is durable: without one there is nothing to accept in the new log."""
        group = names.app_id(
            load_methodology(installed.settings).edition, installed.settings.topics.prefix
        )
        found = await committed(installed.stack.bootstrap, group, topic)
        return [found.get(partition) for partition in (0, 1)] == [1, 1]

    await reject(b"{")
    await installed.until(listed)
    await installed.until(counted)
    await delete_topic(installed.stack.bootstrap, topic)

    async def made():
        return topic in (await installed.create_topics()).created

    await installed.until(made)

    async def named():
        found = await asked(installed, "doctor", code=None)  # wrong once the worker has noticed
        fixes = [each["fix"] for each in found["findings"] if each["check"] == "identity"]
        return next((fix for fix in fixes if "topics accept" in fix), None)

    await installed.command(*shlex.split(await installed.until(named))[1:], check=0)
    await reject(order("zz", now_ms(), market="ZZ"))

    async def of_the_new_log():
        found = await listed()
        return found and found["by_reason"] == {"unknown_market": 2} and found

    found = await installed.until(of_the_new_log)
    assert {each["source"] for each in found["letters"]} == {f"{topic}-0@0", f"{topic}-1@0"}
    assert found["earlier"] == 2
    whole = await asked(installed, "dead-letters", "list", "--earlier")
    assert whole["by_reason"] == {"invalid_json": 2, "unknown_market": 2}
    assert (await asked(installed, "dead-letters", "replay", "--yes"))["sent"] == 2
    there = [each.value for each in await read_all(installed.stack.bootstrap, topic)]
    assert b"{" not in there
    assert len(there) == 4


@pytest.mark.deep
async def test_a_dead_letter_whose_cause_is_gone_is_counted_when_it_is_sent_again(installed):
    at_ms = now_ms()
    ahead_ms = at_ms + 303_000
    async with installed.producer() as producer:
        event = order("ahead", ahead_ms)
        await installed.send(producer, "orders", event, at_ms=at_ms, partition=0)
        await producer.flush()
    assert (await installed.audit()).equal

    async def no_longer_ahead():
        return now_ms() + 299_000 > ahead_ms

    await installed.until(no_longer_ahead)
    assert (await asked(installed, "dead-letters", "replay", "--yes"))["sent"] == 1
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    outcomes = report.sources[f"{installed.settings.topics.orders}-0"]["outcomes"]
    assert outcomes == {"ahead": 1, "accepted": 1}


async def test_a_partition_halted_by_rejects_goes_on_when_it_is_released(installed):
    topic = installed.settings.topics.orders
    async with installed.producer() as producer:
        for _ in range(
            9_000
        ):  # it halts several times before their end, if one release is not enough
            await installed.send(producer, "orders", b"{", at_ms=now_ms(), partition=0)
        await producer.flush()
        url = await worker_url(installed)

        async def halted():
            found = await asked(installed, "doctor", "--worker", url, code=1)
            return [each for each in found["findings"] if each["check"] == "halted"]

        (finding,) = await installed.until(halted)
        command = f"ecindex dead-letters release {topic} 0 --worker {url.rpartition('/')[0]}"
        assert finding["fix"].endswith(command)
        assert finding["where"].startswith(f"{topic}-0@")
        await installed.send(producer, "orders", order("o", now_ms()), at_ms=now_ms(), partition=0)
        await installed.send(producer, "orders", order("b", now_ms()), at_ms=now_ms(), partition=1)
        await producer.flush()
    report = await installed.audit(wait_ms=3_000)
    # It holds as_of of its market as well.
    assert {(each.stage, each.key) for each in report.differences} >= {("progress", f"{topic}-0")}
    assert {each.stage for each in report.differences} == {"progress"}

    async with aiohttp.ClientSession() as session:
        release = f"{url.rpartition('/')[0]}/partitions/{topic}/0/release"
        async with session.post(release) as response:
            assert response.status == 403  # a page in a browser can send no more than this
        async with session.post(release.replace("/0/", "/x/"), headers={RELEASE_HEADER: "1"}) as no:
            assert no.status == 404
    await installed.command("dead-letters", "release", topic, "1", "--worker", url, check=1)
    done = await asked(installed, "dead-letters", "release", topic, "0", "--worker", url)
    assert done["released"] == f"{topic}-0"
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    found = await asked(installed, "doctor", "--worker", url, code=1)
    wrong = {each["check"] for each in found["findings"] if each["level"] == "wrong"}
    assert wrong == {"events"}  # not halted any more; that most were refused stays said
