"""A mailbox of a few slots in which the latest wins."""

from __future__ import annotations

import asyncio

import pytest

from streams.board.hub import Frame, FullError, Hub


async def taken(mailbox):
    async with asyncio.timeout(30):
        return (await mailbox.take_frames()).decode()


async def test_a_slow_client_gets_the_latest_of_each_kind_and_no_more():
    hub = Hub()
    with hub.subscribed("PK") as mailbox:
        for number in range(1_000):
            hub.publish("PK", Frame("market", f"PK.{number}", b"%d" % number))
            hub.publish("", Frame("beat", "", b"beat %d" % number))
        text = await taken(mailbox)
    assert text == "event: market\nid: PK.999\ndata: 999\n\nevent: beat\ndata: beat 999\n\n"


async def test_a_client_gets_its_market_and_what_is_for_all():
    hub = Hub()
    with hub.subscribed("PK") as mailbox:
        hub.publish("BD", Frame("market", "BD.1", b"1"))
        hub.publish("", Frame("beat", "", b"x"))
        assert await taken(mailbox) == "event: beat\ndata: x\n\n"


async def test_a_later_client_gets_the_current_state():
    hub = Hub()
    hub.publish("PK", Frame("market", "PK.1", b"1"))
    hub.publish("PK", Frame("history", "", b"h"))
    hub.publish("BD", Frame("market", "BD.1", b"9"))
    with hub.subscribed("PK") as mailbox:
        text = await taken(mailbox)
    assert text == "event: market\nid: PK.1\ndata: 1\n\nevent: history\ndata: h\n\n"


@pytest.mark.parametrize(("last_id", "repeated"), [("PK.1", False), ("PK.0", True), (None, True)])
async def test_a_returning_client_is_not_sent_again_what_it_has(last_id, repeated):
    hub = Hub()
    hub.publish("PK", Frame("market", "PK.1", b"1"))
    hub.publish("", Frame("beat", "", b"x"))
    with hub.subscribed("PK", last_id) as mailbox:
        assert ("PK.1" in await taken(mailbox)) is repeated


async def test_clients_are_counted_and_bounded():
    hub = Hub(clients_max=1)
    with hub.subscribed("PK"):
        assert hub.clients == 1
        with pytest.raises(FullError, match="1 clients"), hub.subscribed("PK"):
            pass
    assert hub.clients == 0
    with hub.subscribed("PK"):
        pass


async def test_a_close_ends_present_and_later_clients():
    hub = Hub()
    with hub.subscribed("PK") as mailbox:
        waiting = asyncio.ensure_future(mailbox.take_frames())
        await asyncio.sleep(0)
        hub.close()
        assert await waiting is None
    with hub.subscribed("PK") as mailbox:
        assert await mailbox.take_frames() is None
