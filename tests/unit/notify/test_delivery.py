"""Messages to local vendors over real sockets: once a state, within every vendor's rules, never lost."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import pytest
from structlog.testing import capture_logs
from support.notifications import NOW_MS, alert, body, incident, notification
from support.notifying import EVERYBODY, PNG, delivering, settings_for, vendors
from support.vendors import shown

from streams.index.panes import rfc3339
from streams.notify.alert_group import decode_group
from streams.notify.causes import causes_of
from streams.notify.chart_data import chart_data
from streams.notify.market_now import MarketNow
from streams.notify.message_receiver import RETRY_AFTER_MAX_S, NotTakenError, retry_after_s
from streams.notify.notify_process import receivers_of
from streams.notify.picture import draw
from streams.notify.sent_store import SentStore
from streams.notify.trial import send_trial
from streams.publish.incident_records import read_incidents
from streams.settings import LinksSettings

HOSTILE = "<!channel> <@U1> *b* `x` &amp; $\\frac$ <b>\r\nBcc: all@shop.example\x1b[31m\u202egnp"


@pytest.fixture
async def found():
    async with vendors() as local:
        yield local


@pytest.fixture
def clock():
    return [NOW_MS]


@pytest.fixture
async def run(found, tmp_path, clock):
    async with delivering(found, tmp_path, clock=clock) as running:
        yield running


async def deliver(run, *alerts, names=EVERYBODY, **options):
    group = decode_group(body(notification(*alerts, **options)))
    return await run.delivery.deliver(group, names)


def counted(run, receiver, outcome):
    labels = {"receiver": receiver, "outcome": outcome}
    return run.metrics.registry.get_sample_value("ecindex_notify_messages_total", labels)


async def test_everybody_gets_the_whole_message_once_with_its_picture(found, tmp_path):
    async with delivering(found, tmp_path, draw=draw) as run:
        await everybody_has_it(found, run)


async def everybody_has_it(found, run):
    assert await deliver(run) == []
    assert await deliver(run) == [], "Alertmanager comes again because of somebody else"
    (message,) = found.slack.posted
    texts = shown(message)
    assert texts["plain_text"].startswith(
        "\U0001f534 PK: orders have all but stopped\nSince: 04:37 UTC"
    )
    assert "What to do: Ask whether the shop takes orders" in texts["plain_text"]
    assert texts["links"].splitlines() == [
        "Live page https://index.example/?market=PK",
        "Dashboard https://grafana.example/d/ecindex-index?var-market=PK&from=1",
        "Runbook https://wiki.example/runbook.md#ecindexmarketoutage",
    ]
    (picture,) = found.slack.uploaded.values()
    assert picture.startswith(PNG)
    (event,) = found.pagerduty.events
    assert event["event_action"] == "trigger"
    assert event["payload"]["summary"] == "PK: orders have all but stopped"
    assert [link["text"] for link in event["links"]] == ["Live page", "Dashboard", "Runbook"]
    assert event["payload"]["custom_details"]["Now"].startswith("how it is now is not known")
    (mail,) = found.mail.mails
    assert mail["Subject"] == "PK: orders have all but stopped"
    assert mail["To"] == "night@shop.example, day@shop.example"
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]
    image = next(part for part in mail.walk() if part.get_content_type() == "image/png")
    assert f'src="cid:{image["Content-ID"].strip("<>")}"' in mail.get_body(("html",)).get_content()
    assert image.get_content() == picture
    (taken,) = found.webhook.taken
    assert (taken["kind"], taken["market"], taken["title"]) == (
        "began", "PK", "PK: orders have all but stopped",
    )  # fmt: skip
    assert taken["incident"] == event["dedup_key"]
    assert [counted(run, name, "sent") for name in EVERYBODY] == [1] * 4
    assert [counted(run, name, "unchanged") for name in EVERYBODY] == [1] * 4


async def test_another_process_knows_what_was_sent(found, run, tmp_path):
    await deliver(run)
    async with delivering(found, tmp_path) as after:
        assert await deliver(after) == []
        assert await deliver(after, alert(), alert("EcindexPaymentFailures", method="card")) == []
    assert len(found.slack.posted) == 2, "the message, and the news in its thread"
    assert len(found.slack.updated) == 1
    assert len({event["dedup_key"] for event in found.pagerduty.events}) == 1
    assert len(found.webhook.taken) == len(found.mail.mails) == 2


async def test_a_change_updates_and_a_reminder_is_no_second_message(found, run, clock):
    await deliver(run)
    more = [alert(), alert("EcindexPaymentFailures", method="card", summary="PK: 40 % fail")]
    await deliver(run, *more)
    first, news = found.slack.posted
    assert news["thread_ts"] == first["ts"]
    assert news["text"] == "Fires as well: PK: 40 % fail", "not what it has said before"
    clock[0] += 4 * 3_600_000
    assert await deliver(run, *more) == []
    assert len(found.slack.posted) == 2
    assert [update["ts"] for update in found.slack.updated] == [first["ts"]] * 2
    assert len(found.mail.mails) == 2, "a reminder is no mail"
    assert found.mail.mails[1]["In-Reply-To"] == found.mail.mails[0]["Message-ID"]
    assert [taken["kind"] for taken in found.webhook.taken] == ["began", "changed", "repeated"]
    assert [taken["news"] for taken in found.webhook.taken] == ["", news["text"], ""]
    assert len(found.pagerduty.open) == 1
    await deliver(run, more[0], more[1] | {"status": "resolved"})
    assert found.slack.posted[-1]["text"] == "No longer fires: PK: 40 % fail"


async def test_details_of_an_open_incident_are_one_message_in_five_minutes(found, tmp_path, clock):
    """29 members that were found one by one, four notifications a minute, were 29 mails."""
    of = {"dimension": "category", "incident": "PK-20260102T0437-down"}
    members = [alert("EcindexDemandShift", member=f"m{at}", **of) for at in range(9)]
    known = redis_holds(NOW_MS, member="m0")
    async with delivering(found, tmp_path, clock=clock, now=known) as run:
        for at in range(1, 9):
            assert await deliver(run, *members[:at]) == []
            clock[0] += 15_000
            await run.delivery.refresh()
        kinds = [taken["kind"] for taken in found.webhook.taken]
        assert (kinds, len(found.mail.mails)) == (["began"], 1)
        assert len(found.slack.posted) == 8, "it is edited, and its thread tells nobody else"
    clock[0] = NOW_MS + 5 * 60_000
    async with delivering(found, tmp_path, clock=clock, now=known) as run:
        for _ in range(2):
            await run.delivery.refresh()
        taken = found.webhook.taken[1:]
        assert [(each["kind"], len(each["alerts"])) for each in taken] == [("changed", 8)]
        assert taken[0]["news"].startswith("Fires as well: ")
        first, later = found.mail.mails
        assert later["In-Reply-To"] == first["Message-ID"]
        assert "image/png" in [part.get_content_type() for part in later.walk()]
        assert len(found.pagerduty.events) == 1, "its incident is open, and nobody need be called"
        clock[0] += 10 * 60_000
        ended = [each | {"status": "resolved"} for each in members[4:8]]
        await deliver(run, *members[:4], *ended)
        await run.delivery.refresh()
        assert len(found.mail.mails) == len(found.webhook.taken) == 2, "they ended: it can wait"
        run.market_now.now = redis_holds(clock[0])
        await deliver(run, *members[:4], alert(incident=of["incident"]))
        assert found.mail.mails[-1]["Subject"] == "Pakistan: orders have all but stopped"
        assert [taken["kind"] for taken in found.webhook.taken[2:]] == ["changed"], "at once"
        assert len(found.pagerduty.events) == 2
        clock[0] += 4 * 3_600_000
        await deliver(run, *members[:5], alert(incident=of["incident"]))
        assert len(found.pagerduty.events) == 2
        await deliver(run, *members[:5], alert(incident=of["incident"]))
        assert len(found.pagerduty.events) == 3, "Alertmanager reminds"
        assert {event["event_action"] for event in found.pagerduty.events} == {"trigger"}


async def test_a_ticket_that_becomes_a_page_is_told_at_once(found, run):
    ticket = alert("EcindexLag", market=None, dimension=None, member=None, severity="ticket")
    await deliver(run, ticket)
    more = alert("EcindexDiskFull", market=None, dimension=None, member=None, severity="ticket")
    await deliver(run, ticket, more)
    assert [taken["urgency"] for taken in found.webhook.taken] == ["ticket"]
    halted = alert("EcindexPartitionHalted", market=None, dimension=None, member=None)
    await deliver(run, ticket, more, halted)
    assert [taken["urgency"] for taken in found.webhook.taken] == ["ticket", "page"]
    assert len(found.mail.mails) == len(found.pagerduty.events) == 2


async def test_the_end_says_so_once_and_the_next_time_is_another_incident(found, run):
    await deliver(run)
    await deliver(run, alert(firing=False))
    await deliver(run, alert(firing=False))
    first, end = found.slack.posted
    assert (end["thread_ts"], end["text"][:36]) == (
        first["ts"],
        "Over: PK: orders have all but stoppe",
    )
    assert "Over: PK" in shown(found.slack.updated[0])["plain_text"]
    assert [event["event_action"] for event in found.pagerduty.events] == ["trigger", "resolve"]
    assert found.pagerduty.open == {}
    assert [mail["Subject"][:5] for mail in found.mail.mails] == ["PK: o", "Over:"]
    assert [taken["kind"] for taken in found.webhook.taken] == ["began", "over"]
    await deliver(run)
    assert len(found.slack.posted) == 3
    assert "thread_ts" not in found.slack.posted[2]
    keys = [event["dedup_key"] for event in found.pagerduty.events]
    assert keys[2] not in keys[:2]


async def test_two_incidents_of_a_market_are_two_messages_and_keep_their_names(found, tmp_path):
    names = ("PK-20260102T0437-down", "PK-20260102T0310-up")
    members = ("books", "toys")
    known = [incident(name, member=member) for name, member in zip(names, members, strict=True)]
    fields = {each["id"]: msgspec.json.encode(each).decode() for each in known}
    alerts = [alert("EcindexDemandShift", dimension="category", member=each) for each in members]
    async with delivering(
        found, tmp_path, now=MarketNow(NOW_MS, incidents=read_incidents(fields))
    ) as run:
        assert await deliver(run, *alerts) == []
    assert sorted(found.pagerduty.open) == sorted(names)
    assert [taken["incident"] for taken in found.webhook.taken] == list(names)
    assert len(found.slack.posted) == len(found.mail.mails) == 2
    over = [
        incident(name, member=member, over=rfc3339(NOW_MS))
        for name, member in zip(names, members, strict=True)
    ]
    fields = {each["id"]: msgspec.json.encode(each).decode() for each in over}
    async with delivering(
        found, tmp_path, now=MarketNow(NOW_MS, incidents=read_incidents(fields))
    ) as run:
        gone = alerts[0] | {"status": "resolved"}
        assert await deliver(run, gone, alerts[1]) == []
        assert list(found.pagerduty.open) == [names[1]]
        assert await deliver(run, alerts[1] | {"status": "resolved"}) == []
    assert found.pagerduty.open == {}
    assert len(found.slack.posted) == 4, "each with its end in its thread"


def redis_holds(at_ms, *, as_of_ms=None, **changes):
    fields = {"x": msgspec.json.encode(incident(**changes)).decode()}
    return MarketNow(at_ms if as_of_ms is None else as_of_ms, incidents=read_incidents(fields))


def group_of(key, *alerts):
    return decode_group(body(notification(*alerts) | {"groupKey": key}))


async def test_that_another_series_leads_is_news_in_the_next_message(found, tmp_path, clock):
    name = "PK-20260102T0437-down"
    outage = alert(incident=name)
    toys = alert("EcindexDemandShift", dimension="category", member="toys", incident=name)
    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        await deliver(run, outage, toys)
    clock[0] += 5 * 60_000
    led_by_toys = redis_holds(clock[0], member="toys")
    async with delivering(found, tmp_path, clock=clock, now=led_by_toys) as run:
        await deliver(run, outage | {"status": "resolved"}, toys)
        assert len(found.webhook.taken) == 1
        await run.delivery.refresh()
    led = "Now about Toys (category, Pakistan); the last message was about Pakistan. No longer fires: "
    assert [taken["kind"] for taken in found.webhook.taken] == ["began", "changed"]
    assert found.webhook.taken[1]["news"].startswith(led)
    (kept,) = SentStore(tmp_path).incidents()
    assert list(kept.led) == ["market:all", "category:toys"]
    assert kept.led["category:toys"] >= kept.led["market:all"] == min(kept.first_sent().values())


@pytest.mark.parametrize(
    ("told", "ends", "news"), [("", "", 0), ("toys", "", 1), ("toys", "books", 0), ("books", "", 0)]
)
async def test_what_leads_when_an_outage_ends_is_no_news_of_its_own(
    found, tmp_path, clock, told, ends, news
):
    """Members are found back after their market: a mail said that a small one was at 29 % of usual."""
    of = {"dimension": "category", "incident": "PK-20260102T0437-down"}
    members = [
        alert("EcindexDemandShift", member=each, **of) for each in (told, "books", "dates") if each
    ]
    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        await deliver(run, alert(incident=of["incident"]), *members)
        clock[0] += 5 * 60_000
        run.market_now.now = redis_holds(clock[0], member="toys")
        if ends:
            gone = [each for each in members if each["labels"]["member"] == ends]
            left = [each for each in members if each not in gone]
            over = [each | {"status": "resolved"} for each in gone]
            await deliver(run, alert(incident=of["incident"]), *left, *over)
        await run.delivery.refresh()
    assert len(found.mail.mails) - 1 == news
    assert len(found.webhook.taken) - 1 == news


async def test_an_end_that_alertmanager_does_not_send_is_told(found, tmp_path, clock):
    name, over = "PK-20260102T0437-down", rfc3339(NOW_MS)
    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        member = alert("EcindexDemandShift", dimension="category", member="books", incident=name)
        await deliver(run, member)
        for minutes, events in ((10, 1), (11, 2), (12, 2)):
            clock[0] = NOW_MS + minutes * 60_000
            run.market_now.now = redis_holds(clock[0], over=over)
            await run.delivery.refresh()
            assert len(found.pagerduty.events) == events
        assert await deliver(run, member | {"status": "resolved"}) == []
    assert found.pagerduty.open == {}
    assert [taken["kind"] for taken in found.webhook.taken] == ["began", "over"]
    assert found.slack.posted[-1]["text"].startswith("Over: P")
    assert found.mail.mails[-1]["Subject"].startswith("Over: P")


def acknowledged(by):
    return {"acknowledged": FALSE_ALARM | {"kind": "acknowledged", "by": by}}


async def test_only_a_message_that_comes_again_has_an_id_that_was_there(found, tmp_path, clock):
    to = ["webhook", "mail"]
    of = {"dimension": "category", "incident": "PK-20260102T0437-down"}
    members = [alert("EcindexDemandShift", member=member, **of) for member in "ab"]
    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        for member in members * 2:
            ended = [each | {"status": "resolved"} for each in members if each is not member]
            await deliver(run, alert(), member, *ended, names=to)
            clock[0] += 5 * 60_000
            await run.delivery.refresh()
        for by in ("alice", "bob", "alice"):
            run.market_now.now = redis_holds(NOW_MS, **acknowledged(by))
            await run.delivery.refresh()
        for _ in range(2):
            clock[0] += 4 * 3_600_000
            await deliver(run, alert(), members[1], names=to)
    assert len(set(found.webhook.ids)) == len(found.webhook.ids) == 4 + 3 + 2
    assert [taken["message"] for taken in found.webhook.taken] == found.webhook.ids
    mails = [mail["Message-ID"] for mail in found.mail.mails]
    assert len(set(mails)) == len(mails) == 4


async def test_a_message_that_comes_again_has_its_id(found, tmp_path, monkeypatch):
    tried = []
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS)) as run:
        send = run.receivers["webhook"].send

        async def answer_lost(notice, picture, kept):
            tried.append(notice.message)
            if len(tried) % 2:
                raise NotTakenError("the answer was lost", again=len(tried) == 1)
            return await send(notice, picture, kept)

        monkeypatch.setattr(run.receivers["webhook"], "send", answer_lost)
        assert await deliver(run, names=["webhook"]) == []
        of = {"dimension": "category", "incident": "PK-20260102T0437-down"}
        more = alert(), alert("EcindexDemandShift", member="a", **of)
        assert await deliver(run, *more, names=["webhook"]) != []
        assert await deliver(run, *more, names=["webhook"]) == []
        run.market_now.now = redis_holds(NOW_MS, **acknowledged("alice"))
        for _ in range(2):
            await run.delivery.refresh()
    assert tried[::2] == tried[1::2] == found.webhook.ids
    assert len(set(tried)) == 3


@pytest.mark.parametrize("told", [True, False], ids=["told before", "told to nobody"])
async def test_an_alert_that_fires_after_the_end_wakes_nobody(found, tmp_path, clock, told):
    name, over = "PK-20260102T0437-down", rfc3339(NOW_MS)
    firing = alert(incident=name)
    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        if told:
            await deliver(run, firing)
            clock[0] += 11 * 60_000
            run.market_now.now = redis_holds(clock[0], over=over)
            await run.delivery.refresh()
        run.market_now.now = redis_holds(clock[0], over=over)
        member = alert("EcindexDemandShift", dimension="category", member="b", incident=name)
        assert await deliver(run, firing, member) == []
        assert found.pagerduty.open == {}
        kinds = ["began", "over"] if told else []
        if told:  # of what is over, nobody is asked to act, and nothing is said to fire
            end = found.webhook.taken[-1]
            assert (end["advice"], end["alerts"], end["left_out"]) == ("", [], 0)
            over_text = shown(found.slack.updated[-1])
            assert "What to do" not in over_text["plain_text"]
            assert "firing" not in str(found.slack.updated[-1]) + str(found.mail.mails[-1])
        assert [taken["kind"] for taken in found.webhook.taken] == kinds
        assert len(found.slack.posted) == len(found.mail.mails) == len(kinds)
        assert counted(run, "pagerduty", "unchanged") == 1
        await deliver(run, alert(firing=False, incident=name), member | {"status": "resolved"})
        assert found.webhook.taken[-1]["kind"] == "over", "who was not told learns it now"
        assert len(found.webhook.taken) == max(len(kinds), 1)
        assert found.pagerduty.open == {}
        run.market_now.now = redis_holds(clock[0])
        await deliver(run, firing)
        assert list(found.pagerduty.open) == [name], "it is open again"


async def test_a_change_of_what_is_over_is_told_as_over_to_those_who_know_that_it_fires(
    found, tmp_path
):
    name = "PK-20260102T0437-down"
    failing = alert("EcindexPaymentFailures", method="card")
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS)) as run:
        await deliver(run, alert(incident=name))
        run.market_now.now = redis_holds(NOW_MS, over=rfc3339(NOW_MS - 120_000))
        await deliver(run, alert(incident=name), alert("X", incident=name))
        assert found.webhook.taken[1]["kind"] == "changed"
        assert found.webhook.taken[1]["ended"] == rfc3339(NOW_MS - 120_000)
        assert "over by 04:39 UTC" in found.webhook.taken[1]["since"]
        assert found.webhook.taken[0]["advice"].startswith("Ask whether")
        assert found.webhook.taken[1]["advice"] == ""
        assert "firing" not in str(found.slack.updated[-1])
        await deliver(run, failing)
    assert found.webhook.taken[2]["kind"] == "began", "it names no incident, and fires of itself"


FALSE_ALARM = {"kind": "false_alarm", "by": "alice", "at": rfc3339(NOW_MS), "text": ""}


@pytest.mark.parametrize(
    ("now", "headline"),
    [
        ({"verdict": FALSE_ALARM}, "Answered, no longer pages"),
        ({"silenced_by": "PK-20260102T0401-down"}, "Answered, no longer pages"),
        ({"verdict": FALSE_ALARM, "beyond_verdict": True}, "No longer pages, but goes on"),
        ({}, "No longer pages, but goes on"),
        ({"as_of_ms": NOW_MS - 120_000}, "No longer reported; whether it is over is not known"),
        (None, "No longer reported; whether it is over is not known"),
    ],
)
async def test_an_incident_that_goes_on_is_told_over_only_when_it_is(
    found, tmp_path, now, headline
):
    name = "PK-20260102T0437-down"
    gone = alert(firing=False, incident=name)
    away = MarketNow(unknown="Redis is away")
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS)) as run:
        await deliver(run, alert(incident=name))
        run.market_now.now = away if now is None else redis_holds(NOW_MS, **now)
        await deliver(run, gone)
        assert await deliver(run, gone) == []
        assert found.slack.posted[1]["text"].startswith(f"{headline}: P")
        assert shown(found.slack.updated[-1])["plain_text"][2:].startswith(headline)
        taken = found.webhook.taken[1]
        assert (taken["kind"], taken["ended"], taken["quiet"]) == ("changed", None, headline)
        assert "over" not in taken["since"]
        assert "back within" not in taken["now"]
        assert found.mail.mails[1]["Subject"].startswith(headline)
        unknown = "not known" in headline
        assert (list(found.pagerduty.open) == [name]) is unknown, (
            "resolved would say that it is over"
        )
        run.market_now.now = redis_holds(NOW_MS)
        for _ in range(2):
            await run.delivery.refresh()
        assert "No longer pages, but goes on" in shown(found.slack.updated[-1])["plain_text"]
        assert found.pagerduty.open == {}
        run.market_now.now = away
        await run.delivery.refresh()
        assert await deliver(run, gone) == [], "who was told that it goes on is not told less"
        over = redis_holds(NOW_MS, over=rfc3339(NOW_MS - 60_000))
        run.market_now.now = over
        found.webhook.next_answers = [(400, {}, "no")]
        await run.delivery.refresh()
    async with delivering(found, tmp_path, now=over) as run:
        for _ in range(2):
            await run.delivery.refresh()
    told = ["began", "changed", *(["changed"] if unknown else []), "over"]
    assert [taken["kind"] for taken in found.webhook.taken] == told
    assert found.webhook.taken[-1]["ended"] == rfc3339(NOW_MS - 60_000)
    assert found.slack.posted[-1]["text"].startswith("Over: P")
    assert len(found.slack.posted) == len(found.mail.mails) == len(told)
    if unknown:
        assert found.webhook.taken[2]["quiet"] == "No longer pages, but goes on"
        assert found.slack.posted[2]["text"].startswith("No longer pages, but goes on: P")


@pytest.mark.parametrize("over", [False, True])
async def test_what_was_known_of_an_incident_is_said_when_nothing_can_be_read(
    found, tmp_path, over
):
    """A worker that was killed took the metrics with it: the title was that of the last alert."""
    name = "PK-20260102T0437-down"
    of = {"dimension": "category", "incident": name}
    members = [
        alert("EcindexDemandShift", member=each, summary=f"PK: demand for {each} is up", **of)
        for each in ("books", "toys")
    ]
    gone = [each | {"status": "resolved", "endsAt": rfc3339(NOW_MS)} for each in members]
    over_at = rfc3339(NOW_MS - 60_000)
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS, **acknowledged("alice"))) as run:
        await deliver(run, *members)
        run.market_now.now = redis_holds(
            NOW_MS, over=over_at if over else None, **acknowledged("alice")
        )
        await run.delivery.refresh()
        run.market_now.now = MarketNow(unknown="no worker has published")
        await deliver(run, gone[0], members[1])
        await deliver(run, *gone)
        last = found.webhook.taken[-1]
        verb = "had" if over else "have"
        assert last["title"] == f"Pakistan: orders {verb} all but stopped"
        assert last["answered"].startswith("Acknowledged by alice")
        assert last["now"].startswith("how it is now is not known: no worker has published")
        if over:
            assert (last["kind"], last["ended"], last["quiet"]) == ("over", over_at, "")
            assert found.pagerduty.open == {}
        else:
            assert (last["kind"], last["ended"]) == ("changed", None)
            assert last["quiet"] == "No longer reported; whether it is over is not known"
            await deliver(run, alert(incident=name))
            assert found.webhook.taken[-1]["title"] == "PK: orders have all but stopped", "newer"


@pytest.mark.parametrize("name", ["EcindexNoFreshValues", "EcindexMarketWithoutOwner"])
async def test_an_alert_of_no_series_is_not_of_the_outage_beside_it(found, tmp_path, name):
    service = alert(name, dimension=None, member=None, summary="PK: nothing new since 2 minutes")
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS)) as run:
        await deliver(run, alert(), names=["pagerduty"])
        await deliver(run, alert(), service, names=["pagerduty"])
        assert len(found.pagerduty.open) == 2
        await deliver(run, alert(), service | {"status": "resolved"}, names=["pagerduty"])
    assert list(found.pagerduty.open) == ["PK-20260102T0437-down"]


def test_an_alert_of_another_market_is_not_of_the_incident():
    (known,) = redis_holds(NOW_MS).incidents
    group = group_of("k", alert(), alert(market="IN"))
    names = [cause.name for cause in causes_of(group, [known], "group", lambda _alert: None)]
    assert names == ["PK-20260102T0437-down", "group"]


async def test_what_reaches_us_in_two_groups_is_over_when_neither_fires(found, tmp_path):
    name = "PK-20260102T0437-down"
    whole, failures = alert(incident=name), alert("EcindexPaymentFailures", method="card",
                                                  incident=name)  # fmt: skip
    over = redis_holds(NOW_MS, over=rfc3339(NOW_MS))
    to = ["pagerduty", "webhook"]
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS)) as run:
        await run.delivery.deliver(group_of("page", whole), to)
        await run.delivery.deliver(group_of("ticket", failures), ["webhook"])
        run.market_now.now = over
        await run.delivery.deliver(group_of("page", whole | {"status": "resolved"}), to)
        assert [taken["kind"] for taken in found.webhook.taken] == ["began", "changed"]
        assert found.webhook.taken[1]["alerts"][-1]["name"] == "EcindexPaymentFailures"
        assert list(found.pagerduty.open) == [name]
    async with delivering(found, tmp_path, now=over) as run:
        gone = failures | {"status": "resolved"}
        await run.delivery.deliver(group_of("ticket", gone), ["webhook"])
    assert found.webhook.taken[-1]["kind"] == "over"
    assert found.pagerduty.open == {}, "the group that it is in does not come again"


async def test_an_incident_that_was_over_and_joins_again_is_the_same(found, tmp_path):
    fields = {"x": msgspec.json.encode(incident()).decode()}
    async with delivering(
        found, tmp_path, now=MarketNow(NOW_MS, incidents=read_incidents(fields))
    ) as run:
        for firing in (True, False, True, False):
            assert await deliver(run, alert(firing=firing)) == []
    first, *news = found.slack.posted
    assert [each["thread_ts"] for each in news] == [first["ts"]] * 3
    assert {event["dedup_key"] for event in found.pagerduty.events} == {"PK-20260102T0437-down"}


async def test_a_message_says_how_it_is_now_whenever_it_is_read(found, tmp_path, clock):
    def known(**changes):
        fields = {"x": msgspec.json.encode(incident(**changes)).decode()}
        return MarketNow(clock[0], incidents=read_incidents(fields))

    async with delivering(found, tmp_path, clock=clock, now=known()) as run:
        await run.delivery.refresh()
        await deliver(run)
        clock[0] += 3_600_000
        run.market_now.now = known(now=(700.0, 1_000.0), state="returning")
        await run.delivery.refresh()
        (first,) = found.slack.posted
        (update,) = found.slack.updated
        assert update["ts"] == first["ts"]
        assert "5 min before 04:41 UTC" in shown(first)["plain_text"]
        assert "65 min before 05:41 UTC" in shown(update)["plain_text"]
        assert "Now: 700 orders in" in shown(update)["plain_text"]
        found.slack.next_answers = [(500, {}, "down")]
        await run.delivery.refresh()
        run.market_now.now = known(over=rfc3339(clock[0]))
        await deliver(run, alert(firing=False))
        await run.delivery.refresh()
    assert len(found.slack.updated) == 2, "the news, and nothing once it is over"
    assert len(found.pagerduty.events) == len(found.mail.mails) == len(found.webhook.taken) == 2


async def test_an_answer_is_told_once_and_pagerduty_is_acknowledged_unless_it_knows(
    found, tmp_path
):
    def known(by=None, **changes):
        answer = by and {"kind": "acknowledged", "by": by, "at": rfc3339(NOW_MS), "text": "on <it>"}
        fields = {"x": msgspec.json.encode(incident(acknowledged=answer, **changes)).decode()}
        return MarketNow(NOW_MS, incidents=read_incidents(fields))

    async with delivering(found, tmp_path, now=known()) as run:
        await deliver(run)
        run.market_now.now = known("alice")
        found.pagerduty.next_answers = [(500, {}, "down")]
        for _ in range(3):
            await run.delivery.refresh()
        actions = [event["event_action"] for event in found.pagerduty.events]
        assert actions == ["trigger", "acknowledge"]
        _first, news = found.slack.posted
        assert news["text"] == "Acknowledged by alice at 09:41 PKT: on &lt;it&gt;."
        assert "Answered: Acknowledged by alice" in shown(found.slack.updated[-1])["plain_text"]
        assert len(found.mail.mails) == 1
        assert [taken["kind"] for taken in found.webhook.taken] == ["began", "answered"]
        assert found.webhook.taken[1]["acknowledged_by"] == "alice"
        run.market_now.now = known("bob (PagerDuty)")
        await run.delivery.refresh()
        assert len(found.pagerduty.events) == 2
        await deliver(run, alert(firing=False))
    assert found.pagerduty.open == {}
    assert counted(run, "slack", "sent") == 2


async def test_an_acknowledgement_that_is_taken_back_stays_in_pagerduty_and_is_said_to(
    found, tmp_path
):
    by = acknowledged("alice")
    note = FALSE_ALARM | {"kind": "note", "text": "restarted"}
    told = (
        "Taken back: acknowledged (alice, 09:41 PKT). "
        "PagerDuty stays acknowledged unless it is taken back there."
    )
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS)) as run:
        await deliver(run)
        for held in (by, by | {"notes": [note]}, {"notes": [note]}, {"notes": [note]}):
            run.market_now.now = redis_holds(NOW_MS, **held)
            await run.delivery.refresh()
    actions = [event["event_action"] for event in found.pagerduty.events]
    assert actions == ["trigger", "acknowledge", "trigger"], "its log says so; nobody is paged"
    details = found.pagerduty.events[-1]["payload"]["custom_details"]
    assert details["New"] == told
    assert details["Answered"] == "Note by alice at 09:41 PKT: restarted"
    assert [each["text"] for each in found.slack.posted[1:]] == [
        "Acknowledged by alice at 09:41 PKT.",
        "Note by alice at 09:41 PKT: restarted",
        told,
    ]
    assert [taken["news"] for taken in found.webhook.taken[1:]] == [
        each["text"] for each in found.slack.posted[1:]
    ]


@pytest.mark.parametrize("refreshed_first", [True, False])
async def test_what_becomes_worse_after_it_was_acknowledged_rings_again(
    found, tmp_path, refreshed_first
):
    """PagerDuty calls nobody for an alert that is acknowledged there, whatever is added to it."""
    by = acknowledged("alice")
    lost = {"acknowledged_before": by["acknowledged"]}
    worse = redis_holds(NOW_MS, worsened=rfc3339(NOW_MS + 60_000), **lost)
    more = [alert(), alert("EcindexMarketShift")]
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS)) as run:
        await deliver(run)
        run.market_now.now = redis_holds(NOW_MS, **by)
        await run.delivery.refresh()
        before = len(found.pagerduty.events)
        run.market_now.now = worse
        if refreshed_first:
            await run.delivery.refresh()
            assert len(found.pagerduty.open) == 1
        await deliver(run, *more)
        for _ in range(2):
            await run.delivery.refresh()
        actions = [event["event_action"] for event in found.pagerduty.events[before:]]
        assert actions == ["resolve", "trigger", "trigger"][: 2 + refreshed_first], "it rings once"
        run.market_now.now = redis_holds(
            NOW_MS, worsened=rfc3339(NOW_MS + 60_000), **acknowledged("bob")
        )
        await run.delivery.refresh()
    assert found.pagerduty.events[-1]["event_action"] == "acknowledge"
    texts = [each["text"] for each in found.slack.posted]
    lapsed = "Acknowledged by alice at 09:41 PKT, before it became worse at 09:42 PKT; not since."
    assert lapsed in texts
    assert not any("Taken back" in text for text in texts)
    assert found.webhook.taken[-2]["acknowledged_before_at"] == rfc3339(NOW_MS)
    last = found.webhook.taken[-1]
    assert (last["acknowledged_by"], last["acknowledged_before"]) == ("bob", "")
    assert last["acknowledged_before_at"] is None


async def test_what_nobody_is_known_to_have_acknowledged_never_rings_a_second_time(
    found, tmp_path, clock
):
    """It rang at the first reminder, four hours after it had become worse."""
    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        await deliver(run)
        run.market_now.now = redis_holds(NOW_MS, worsened=rfc3339(NOW_MS + 300_000))
        await run.delivery.refresh()
        clock[0] += 4 * 3_600_000
        await deliver(run)
        await deliver(run, alert(), alert("EcindexMarketShift"))
    assert [event["event_action"] for event in found.pagerduty.events] == ["trigger"] * 3


async def test_one_acknowledgement_lets_it_ring_once_however_often_it_becomes_worse(
    found, tmp_path, clock
):
    by = acknowledged("alice")

    def worse(minutes, *, given_ms=NOW_MS):
        before = by["acknowledged"] | {"at": rfc3339(given_ms)}
        at = rfc3339(NOW_MS + minutes * 60_000)
        return redis_holds(NOW_MS, worsened=at, acknowledged_before=before)

    more = [alert(), alert("EcindexMarketShift")]
    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        await deliver(run)
        for known in (redis_holds(NOW_MS, **by), worse(1), worse(2)):
            run.market_now.now = known
            await run.delivery.refresh()
        await deliver(run, *more)
        clock[0] += 4 * 3_600_000
        await deliver(run, *more)
        run.market_now.now = worse(3, given_ms=NOW_MS + 90_000)
        await run.delivery.refresh()
    assert [event["event_action"] for event in found.pagerduty.events] == [
        "trigger", "acknowledge", "resolve", "trigger", "trigger", "trigger", "resolve", "trigger",
    ]  # fmt: skip


async def test_a_verdict_that_is_taken_back_is_not_told_as_a_second_acknowledgement(
    found, tmp_path
):
    both = acknowledged("alice") | {"verdict": FALSE_ALARM}
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS)) as run:
        await deliver(run, names=["slack", "webhook"])
        for held in (both, acknowledged("alice")):
            run.market_now.now = redis_holds(NOW_MS, **held)
            await run.delivery.refresh()
    assert found.slack.posted[-1]["text"] == "Taken back: a false alarm (alice, 09:41 PKT)."
    assert found.webhook.taken[-1]["answered"] == "Acknowledged by alice at 09:41 PKT."
    assert len(found.slack.posted) == len(found.webhook.taken) == 3


async def test_pagerduty_is_silent_while_an_answer_silences_and_rings_again_after_it(
    found, tmp_path, clock
):
    """Its alerts fire on for minutes after an answer, and do not change when it lapses meanwhile."""
    name = "PK-20260102T0437-down"
    false = {"verdict": FALSE_ALARM, "silenced_by": name}
    lapsed = {"verdict": FALSE_ALARM}
    rings = alert(incident=name)

    def actions():
        return [event["event_action"] for event in found.pagerduty.events]

    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        await deliver(run, rings)
        run.market_now.now = redis_holds(NOW_MS, **acknowledged("alice"))
        await run.delivery.refresh()
        run.market_now.now = redis_holds(NOW_MS, **acknowledged("alice"), **false)
        found.pagerduty.next_answers = [(500, {}, "down")]
        for _ in range(3):
            await run.delivery.refresh()
        assert actions() == ["trigger", "acknowledge", "resolve"]
        assert found.webhook.taken[-1]["silenced"] is True
        await deliver(run, rings, alert("EcindexMarketShift", incident=name))
        assert len(found.pagerduty.events) == 3, "more of what is silenced rings nobody"
        run.market_now.now = MarketNow(unknown="Redis is away")
        await run.delivery.refresh()
    held = redis_holds(NOW_MS, **acknowledged("alice"), **lapsed)
    async with delivering(found, tmp_path, clock=clock, now=held) as run:
        found.pagerduty.next_answers = [(500, {}, "down")]
        for _ in range(3):
            await run.delivery.refresh()
        assert actions()[3:] == ["trigger"], "the verdict is as it was; it silences no more"
        assert list(found.pagerduty.open) == [name]
        again = {
            "acknowledged": acknowledged("alice")["acknowledged"] | {"at": rfc3339(NOW_MS + 1)}
        }
        run.market_now.now = redis_holds(NOW_MS, **again, **lapsed)
        await run.delivery.refresh()
        assert actions()[4:] == ["acknowledge"], "of the alert that rings now"
        run.market_now.now = redis_holds(NOW_MS, **false)
        await run.delivery.refresh()
        assert found.pagerduty.open == {}
        run.market_now.now = redis_holds(NOW_MS)
        await run.delivery.refresh()
        assert list(found.pagerduty.open) == [name], "it was taken back"
        assert "Taken back: a false alarm" in found.webhook.taken[-1]["news"]


async def test_what_is_over_or_pages_no_longer_does_not_ring_when_its_answer_lapses(
    found, tmp_path
):
    name = "PK-20260102T0437-down"
    false = {"verdict": FALSE_ALARM, "silenced_by": name}
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS, **false)) as run:
        await deliver(run, alert(incident=name))
        assert found.pagerduty.open == {}, "answered before it was told"
        run.market_now.now = redis_holds(NOW_MS, over=rfc3339(NOW_MS), verdict=FALSE_ALARM)
        await run.delivery.refresh()
        await deliver(run, alert(incident=name), alert("EcindexMarketShift", incident=name))
        assert found.pagerduty.open == {}
        run.market_now.now = redis_holds(NOW_MS, **false)
        await deliver(run, alert(firing=False, incident=name))
        run.market_now.now = redis_holds(NOW_MS)
        await run.delivery.refresh()
        assert found.pagerduty.open == {}, "nothing of it fires"
        await deliver(run, alert(incident=name))
        assert list(found.pagerduty.open) == [name]


@pytest.mark.parametrize("ended_by", ["alertmanager", "refresh"])
async def test_an_answer_that_comes_after_the_end_is_told_once(found, tmp_path, clock, ended_by):
    name, over = "PK-20260102T0437-down", rfc3339(NOW_MS)
    note = FALSE_ALARM | {"kind": "note", "text": "it was the gateway"}
    async with delivering(found, tmp_path, clock=clock, now=redis_holds(NOW_MS)) as run:
        await deliver(run, alert(incident=name))
        clock[0] += 11 * 60_000
        run.market_now.now = redis_holds(clock[0], over=over)
        if ended_by == "alertmanager":
            await deliver(run, alert(firing=False, incident=name))
        await run.delivery.refresh()
        assert [taken["kind"] for taken in found.webhook.taken] == ["began", "over"]
        edits = len(found.slack.updated)
    clock[0] += 3 * 3_600_000
    answered = redis_holds(clock[0], over=over, notes=[note])
    async with delivering(found, tmp_path, clock=clock, now=answered) as run:
        found.slack.next_answers = [(500, {}, "down")]
        for _ in range(3):
            await run.delivery.refresh()
        run.market_now.now = MarketNow(unknown="Redis is away")
        await run.delivery.refresh()
        run.market_now.now = redis_holds(clock[0], over=over)
        await run.delivery.refresh()
    first, end, reply, undo = found.slack.posted
    assert end["text"].startswith("Over: P")
    assert [each["thread_ts"] for each in (end, reply, undo)] == [first["ts"]] * 3
    assert reply["text"] == "Note by alice at 2 Jan 09:41 PKT: it was the gateway"
    assert undo["text"] == "Taken back: the notes."
    assert len(found.slack.updated) == edits + 2, "its message has the answer, and is not refreshed"
    text = shown(found.slack.updated[-2])["plain_text"]
    assert text.startswith("\u2705 Over: P")
    assert "Answered: Note by alice" in text
    assert "firing" not in text
    assert [taken["kind"] for taken in found.webhook.taken[2:]] == ["answered"] * 2
    assert (found.webhook.taken[2]["ended"], found.webhook.taken[2]["news"]) == (
        over,
        reply["text"],
    )
    assert len(found.pagerduty.events) == len(found.mail.mails) == 2


async def test_a_message_that_is_over_does_not_count_alerts_as_firing(found, run):
    many = [alert("EcindexDemandShift", member=f"m{number}") for number in range(30)]
    await deliver(run, *many, names=["slack"])
    assert "30 alerts firing" in shown(found.slack.posted[0])["plain_text"]
    await deliver(run, *[each | {"status": "resolved"} for each in many], names=["slack"])
    assert "firing" not in shown(found.slack.updated[0])["plain_text"]


async def test_labels_are_text_and_nothing_else(found, run):
    hostile = alert(member=HOSTILE, dimension="category", summary=f"{HOSTILE}: down since 1")
    assert await deliver(run, hostile) == []
    (message,) = found.slack.posted
    texts = shown(message)
    assert "<!channel>" in texts["plain_text"], "there Slack reads no markup"
    assert texts["mrkdwn"] == ""
    assert "&lt;!channel&gt; &lt;@U1&gt;" in message["text"]
    (mail,) = found.mail.mails
    assert "Bcc" not in mail
    assert mail["Subject"].startswith("<!channel> <@U1> *b* `x` &amp; $\\frac$ <b> Bcc: all@shop")
    html = mail.get_body(("html",)).get_content()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    for text in (*texts.values(), html, str(found.pagerduty.events), str(found.webhook.taken)):
        assert "\x1b" not in text
        assert "\u202e" not in text


async def test_the_longest_labels_keep_within_every_limit(found, run):
    long = [
        alert("E" * 3_000, member=f"{n}" + "m" * 5_000, dimension="region", summary="s" * 9_000)
        for n in range(60)
    ]
    assert await deliver(run, *long) == []
    assert len(found.slack.posted) == len(found.mail.mails) == 1
    assert found.webhook.taken[0]["left_out"] == 40


@pytest.mark.parametrize("scans", [0, 2, 9])
async def test_slack_shows_the_picture_once_it_has_scanned_it(found, run, scans):
    found.slack.scans = scans
    assert await deliver(run, names=["slack"]) == []
    (message,) = found.slack.posted
    images = [block for block in message["blocks"] if block["type"] == "image"]
    assert len(images) == (1 if scans < 4 else 0)


async def test_a_message_that_somebody_deleted_is_posted_anew(found, run):
    await deliver(run, names=["slack"])
    found.slack.posted.clear()
    assert await deliver(run, alert(firing=False), names=["slack"]) == []
    (message,) = found.slack.posted
    assert "Over: PK" in shown(message)["plain_text"]


async def test_the_end_is_told_in_the_thread_of_a_message_that_can_no_longer_be_edited(found, run):
    """A workspace may close the window for edits: then nobody was told of the end."""
    await deliver(run, names=["slack"])
    found.slack.refused["chat.update"] = "edit_window_closed"
    assert await deliver(run, alert(), alert(member="x"), names=["slack"]) == []
    assert await deliver(run, alert(firing=False), names=["slack"]) == []
    message, *replies = found.slack.posted
    assert [reply["thread_ts"] for reply in replies] == [message["ts"]] * 2
    assert replies[-1]["text"].startswith("Over: PK")
    assert [reply["reply_broadcast"] for reply in replies] == [False, True]
    assert found.slack.calls.count("chat.update") == 1


@pytest.mark.parametrize(
    ("refusal", "anew"),
    [
        ("update_failed", False),
        ("block_mismatch", False),
        ("external_channel_migrating", False),
        ("ekm_access_denied", False),
        ("a_refusal_of_tomorrow", False),
        ("is_inactive", True),
        ("channel_not_found", True),
        ("message_not_found", True),
        ("cant_update_message", True),
    ],
)
async def test_whatever_refusal_an_edit_meets_the_end_is_told(found, run, refusal, anew):
    await deliver(run, names=["slack"])
    found.slack.refused["chat.update"] = refusal
    assert await deliver(run, alert(firing=False), names=["slack"]) == []
    message, end = found.slack.posted
    if anew:
        assert "thread_ts" not in end
        assert "Over: PK" in shown(end)["plain_text"]
    else:
        assert (end["thread_ts"], end["reply_broadcast"]) == (message["ts"], True)
        assert end["text"].startswith("Over: PK")


async def test_an_edit_that_was_refused_once_is_tried_again(found, tmp_path, clock):
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS), clock=clock) as run:
        await deliver(run, names=["slack"])
        found.slack.refused["chat.update"] = "update_failed"
        run.market_now.now = redis_holds(NOW_MS, **acknowledged("alice"))
        for _ in range(2):
            await run.delivery.refresh()
        assert len(found.slack.posted) == 2, "the answer is told once, by a reply"
        found.slack.refused.clear()
        await run.delivery.refresh()
        assert "Acknowledged by alice" in shown(found.slack.updated[-1])["plain_text"]
        found.slack.refused["chat.update"] = "token_expired"
        clock[0] += 4 * 3_600_000
        ((_, error),) = await deliver(run, names=["slack"])
        assert error.reason == "Slack answered token_expired", "a reminder has nothing else to tell"


async def test_where_slack_takes_no_reply_the_message_is_posted_anew(found, run):
    await deliver(run, names=["slack"])
    found.slack.refused["chat.update"] = "edit_window_closed"
    found.slack.no_thread = "restricted_action_non_threadable_channel"
    assert await deliver(run, alert(firing=False), names=["slack"]) == []
    assert "Over: PK" in shown(found.slack.posted[-1])["plain_text"]
    assert "thread_ts" not in found.slack.posted[-1]


async def test_a_message_of_an_index_that_is_away_does_not_go_on_saying_now(found, tmp_path, clock):
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS), clock=clock) as run:
        await deliver(run, alert(incident="PK-20260102T0437-down"), names=["slack"])
        clock[0] += 2 * 3_600_000
        run.market_now.now = MarketNow(unknown="Redis does not answer (refused)")
        await run.delivery.refresh()
    text = shown(found.slack.updated[-1])["plain_text"]
    assert "how it is now is not known: Redis does not answer (refused). Last known: 2 or" in text
    assert "usual. (as of 04:41 UTC on 2 Jan)" in text
    assert "2 h 5 min before 06:41 UTC on 2 Jan" in text


async def test_what_was_last_known_is_of_the_last_refresh_not_of_the_last_message(
    found, tmp_path, clock
):
    async with delivering(found, tmp_path, now=redis_holds(NOW_MS), clock=clock) as run:
        await deliver(run, alert(incident="PK-20260102T0437-down"), names=["slack"])
        clock[0] += 3_600_000
        run.market_now.now = redis_holds(clock[0], now=(700.0, 1_000.0))
        await run.delivery.refresh()
        clock[0] += 60_000
        run.market_now.now = MarketNow(unknown="Redis is away")
        for _ in range(2):
            await run.delivery.refresh()
    text = shown(found.slack.updated[-1])["plain_text"]
    assert "Last known: 700 orders" in text
    assert "(as of 05:41 UTC on 2 Jan)" in text


async def test_what_was_not_known_is_not_quoted(found, tmp_path, clock):
    away = MarketNow(unknown="Redis does not answer (refused)")
    async with delivering(found, tmp_path, now=away, clock=clock) as run:
        await deliver(run, alert(incident="PK-20260102T0437-down"), names=["slack"])
        clock[0] += 3_600_000
        await run.delivery.refresh()
    assert shown(found.slack.updated[-1])["plain_text"].count("is not known") == 1


@pytest.mark.parametrize(
    ("vendor", "name", "refusals", "calls"),
    [
        (
            "slack",
            "slack",
            [(429, {"Retry-After": "0"}, {"ok": False, "error": "ratelimited"})] * 2,
            None,
        ),
        ("pagerduty", "pagerduty", [(503, {}, "busy"), (429, {}, "slow down")], 3),
        ("webhook", "webhook", [(500, {}, "broken")], 2),
    ],
)
async def test_what_passes_is_tried_again(found, run, vendor, name, refusals, calls):
    local = getattr(found, vendor)
    local.next_answers = list(refusals)
    assert await deliver(run, names=[name]) == []
    assert calls in (None, len(local.calls))
    assert local.next_answers == []


async def test_who_does_not_take_a_message_is_named_and_the_others_have_it(found, run, clock):
    found.slack.next_answers = [(200, {}, {"ok": False, "error": "not_in_channel"})] * 9
    ((name, error),) = await deliver(run)
    assert name == "slack"
    assert (
        str(error) == "Slack answered not_in_channel; invite the bot to the channel: /invite @BOT"
    )
    up = {
        n: run.metrics.registry.get_sample_value("ecindex_notify_receiver_up", {"receiver": n})
        for n in EVERYBODY
    }
    assert up == {"slack": 0, "pagerduty": 1, "mail": 1, "webhook": 1}
    found.slack.next_answers = []
    assert await deliver(run) == []
    assert len(found.slack.posted) == len(found.pagerduty.events) == len(found.mail.mails) == 1


async def test_an_end_that_was_not_taken_is_said_before_anything_new(found, run):
    await deliver(run, names=["pagerduty"])
    found.pagerduty.next_answers = [(400, {}, "no")]
    ((_, error),) = await deliver(run, alert(firing=False), names=["pagerduty"])
    assert error.action.startswith("check notify.pagerduty_key")
    await deliver(run, names=["pagerduty"])
    await deliver(run, alert(firing=False), names=["pagerduty"])
    assert found.pagerduty.open == {}
    assert len({event["dedup_key"] for event in found.pagerduty.events}) == 1


async def test_two_routes_of_one_group_are_one_incident_until_both_have_its_end(found, run):
    for names in (["slack"], ["pagerduty"]):
        assert await deliver(run, names=names) == []
    assert await deliver(run, alert(firing=False), names=["slack"]) == []
    found.pagerduty.next_answers = [(400, {}, "no")]
    assert await deliver(run, alert(firing=False), names=["pagerduty"]) != []
    assert await deliver(run, names=["pagerduty"]) == []
    assert await deliver(run, alert(firing=False), names=["pagerduty"]) == []
    assert found.pagerduty.open == {}


async def test_a_receiver_that_asks_to_wait_is_not_asked_before(found, run, clock):
    found.pagerduty.next_answers = [(429, {"Retry-After": "60"}, "wait")]
    (failure,) = await deliver(run, names=["pagerduty"])
    assert failure.error.retry_after_s == 60
    clock[0] += 30_000
    (failure,) = await deliver(run, names=["pagerduty"])
    assert failure.error.reason == "it asked to wait for another 30 s"
    assert len(found.pagerduty.calls) == 1
    clock[0] -= 3_600_000
    (failure,) = await deliver(run, names=["pagerduty"])
    assert failure.error.reason == "it asked to wait for another 60 s", "the clock was set back"
    clock[0] += 3_600_000 + 30_000
    assert await deliver(run, names=["pagerduty"]) == []


@pytest.mark.parametrize("digits", [400, 5_000])
def test_a_wait_without_measure_is_the_longest_or_none(digits):
    assert retry_after_s("9" * digits, 0) in (0.0, RETRY_AFTER_MAX_S)


async def test_a_mail_server_that_refuses_says_who_must_act(found, run):
    found.mail.refuses = {"night@shop.example", "day@shop.example"}
    ((_, error),) = await deliver(run, names=["mail"])
    assert "no such mailbox" in error.reason
    assert not error.again
    found.mail.refuses = {"day@shop.example"}
    assert await deliver(run, names=["mail"]) == [], "one of two has it"
    found.mail.refuses, found.mail.data_answer = set(), "451 try later"
    ((_, error),) = await deliver(run, alert(firing=False), names=["mail"])
    assert error.again


async def test_only_the_address_that_a_mail_server_puts_off_gets_the_mail_again(found, run):
    night, day = "night@shop.example", "day@shop.example"
    found.mail.puts_off = {day}
    ((_, error),) = await deliver(run, names=["mail"])
    assert error.reason == f"the server asks to come again: {day}: 451 come again"
    assert error.again
    found.mail.puts_off = set()
    assert await deliver(run, names=["mail"]) == []
    assert found.mail.taken_for == [[night], [day]]
    first, again = found.mail.mails
    assert first["Message-ID"] == again["Message-ID"]
    found.mail.puts_off, found.mail.refuses = {night}, {day}
    ((_, error),) = await deliver(run, alert(firing=False), names=["mail"])
    assert night in error.reason, "an address that is gone does not end the trying for others"
    found.mail.puts_off, found.mail.refuses = set(), {night, day}
    assert await deliver(run, alert(firing=False), names=["mail"]) == []
    assert len(found.mail.mails) == 2


async def test_a_vendor_that_is_slow_with_one_incident_holds_back_no_other(found, tmp_path):
    names = ("PK-20260102T0437-down", "PK-20260102T0310-up")
    both = asyncio.Barrier(2)
    found.webhook.before = both.wait  # it answers neither before it has got both
    alerts = [alert("EcindexDemandShift", incident=name, member=name) for name in names]
    async with delivering(found, tmp_path) as run:
        assert await deliver(run, *alerts, names=["webhook"]) == []


async def test_pictures_are_drawn_one_after_the_other(found, tmp_path):
    drawing, alone = threading.Lock(), []

    def draw(*_drawn):
        alone.append(drawing.acquire(blocking=False))
        threading.Event().wait(0.05)
        if alone[-1]:
            drawing.release()
        return PNG

    names = ("PK-20260102T0437-down", "PK-20260102T0310-up")
    alerts = [alert("EcindexDemandShift", incident=name, member=name) for name in names]
    async with delivering(found, tmp_path, draw=draw) as run:
        assert await deliver(run, *alerts, names=["mail"]) == []
    assert alone == [True, True]


async def test_a_refresh_heeds_who_asks_to_wait_and_a_bug_in_one_ends_no_other(
    found, tmp_path, clock, capsys, monkeypatch
):
    monkeypatch.setattr("streams.notify.delivery.REFRESHED_AT_A_TIME", 1)
    names = ("PK-20260102T0437-down", "PK-20260102T0310-up")
    known = [incident(name, member=name) for name in names]
    fields = {each["id"]: msgspec.json.encode(each).decode() for each in known}
    alerts = [alert("EcindexDemandShift", incident=name, member=name) for name in names]
    now = MarketNow(NOW_MS, incidents=read_incidents(fields))
    async with delivering(found, tmp_path, clock=clock, now=now) as run:
        await deliver(run, *alerts, names=["slack"])
        answer = (429, {"Retry-After": "60"}, {"ok": False, "error": "ratelimited"})
        found.slack.next_answers = [answer]
        for seconds, calls in ((0, 1), (30, 0), (31, 2)):
            clock[0] += seconds * 1000
            before = len(found.slack.calls)
            await run.delivery.refresh()
            assert len(found.slack.calls) - before == calls, seconds
        first = run.delivery._store.sent_incidents(closed=False)[0]
        first.sent["slack"].kept["channel"] = object()
        updated = len(found.slack.updated)
        await run.delivery.refresh()
        assert len(found.slack.updated) == updated + 1
    assert "refresh_failed" in capsys.readouterr().out


async def test_nobody_listens(found, tmp_path):
    async with delivering(
        found,
        tmp_path,
        pagerduty_api="http://127.0.0.1:9",
        webhook_url="http://127.0.0.1:9/x",
        slack_api="http://127.0.0.1:9",
        mail_server="127.0.0.1:9",
    ) as run:
        failures = await deliver(run)
        assert {failure.receiver for failure in failures} == set(EVERYBODY)
        assert all("127.0.0.1" in failure.error.reason for failure in failures)


async def test_the_query_of_a_webhook_is_sent_and_said_nowhere(found, tmp_path):
    async with delivering(found, tmp_path, webhook_url=f"{found.webhook.url}?sig=keep-it") as run:
        assert await deliver(run, names=["webhook"]) == []
    assert len(found.webhook.taken) == 1
    address = "http://127.0.0.1:99999/?sig=keep-it"
    async with delivering(found, tmp_path / "other", webhook_url=address) as run:
        (failure,) = await deliver(run, names=["webhook"])
    assert failure.error.reason == "InvalidURL: nothing can be sent to its address"


@pytest.mark.parametrize(
    ("answers", "address", "words"),
    [
        ([(500, {}, "broken")], "", "Prometheus answered 500 (notify.prometheus_url)"),
        ([(200, {}, "[]")], "", "Prometheus' answer is none (notify.prometheus_url)"),
        ([], "http://127.0.0.1:9", "Prometheus does not answer (notify.prometheus_url)"),
        ([], None, "notify.prometheus_url is not set"),
        ([(307, {"Location": "/x"}, "")], "", "Prometheus answered 307 (notify.prometheus_url)"),
        (None, "", "Prometheus has no value of it in these hours"),
    ],
)
async def test_a_message_goes_without_its_picture_and_says_why(
    found, tmp_path, answers, address, words
):
    found.prometheus.empty = answers is None
    found.prometheus.next_answers = answers or []
    given = {} if address == "" else {"prometheus_url": address}
    async with delivering(found, tmp_path, **given) as run:
        assert await deliver(run) == []
    assert words in found.webhook.taken[0]["no_picture"]
    assert f"No picture: {words}" in shown(found.slack.posted[0])["plain_text"]
    assert f"No picture: {words}" in found.mail.mails[0].get_body(("plain",)).get_content()


async def test_a_bug_of_ours_keeps_nobody_else_from_being_told(found, tmp_path, monkeypatch):
    def broken(*_drawn):
        raise KeyError("a bug")

    async with delivering(found, tmp_path, draw=broken) as run:
        monkeypatch.setattr(run.receivers["pagerduty"], "_key", object())
        with capture_logs() as logged:  # drawn for a terminal, a traceback takes half a second
            ((name, error),) = await deliver(run)
    assert "exc_info" in logged[0]
    assert (name, error.action) == ("pagerduty", "report it, with the log")
    assert error.reason.startswith("ecindex could not send it: TypeError")
    assert len(found.mail.mails) == 1
    assert found.webhook.taken[0]["no_picture"].startswith("it could not be drawn (KeyError)")
    assert counted(run, "pagerduty", "failed") == 1


async def test_a_prometheus_that_hangs_holds_no_message_up(found, run, monkeypatch):
    monkeypatch.setattr("streams.notify.chart_data.READ_S", 0.02)
    found.prometheus.hangs = asyncio.Event()
    assert await deliver(run) == []
    assert len(found.pagerduty.events) == 1
    assert found.webhook.taken[0]["no_picture"].startswith("Prometheus has not answered within")
    found.prometheus.hangs.set()


async def test_the_picture_asks_for_its_hours_and_its_member(found, run):
    await deliver(
        run, alert("EcindexDemandShift", dimension="category", member='b"\\\nx'), names=["mail"]
    )
    (asked,) = found.prometheus.asked
    assert asked["query"] == (
        '{__name__=~"market_category_window:ecindex_orders:max'
        "|market_category_window:ecindex_orders_expected:max"
        '|market_category_window_bound:ecindex_orders_band:max",'
        'market="PK",window="5m",category="b\\"\\\\\\nx"}'
    )
    assert float(asked["end"]) - float(asked["start"]) == 3 * 3600


def test_lines_of_a_chart_are_told_apart_by_name_and_bound():
    data = chart_data(
        ("category", "books"),
        b'{"status":"success","data":{"resultType":"matrix","result":['
        b'{"metric":{"__name__":"a:ecindex_orders:max"},"values":[[1,"2"]]},'
        b'{"metric":{"__name__":"a:ecindex_orders_expected:max"},"values":[[1,"3"]]},'
        b'{"metric":{"__name__":"a:ecindex_orders_band:max","bound":"upper"},"values":[[1,"4"]]}]}}',
    )
    assert (data.values, data.expected, data.lower, data.upper) == (
        {1000: 2},
        {1000: 3},
        {},
        {1000: 4},
    )


@pytest.mark.parametrize("name", EVERYBODY)
async def test_a_test_message_has_everything_and_is_over_at_once(found, name):
    receivers = receivers_of(settings_for(found))
    links = LinksSettings(board="https://index.example", runbook="https://wiki.example/r")
    try:
        result = await send_trial(receivers[name], links, NOW_MS)
        assert (result.receiver, bool(result.ids)) == (name, True)
    finally:
        for receiver in receivers.values():
            await receiver.close()
    assert found.pagerduty.open == {}
    assert (
        len(found.slack.posted)
        + len(found.pagerduty.events)
        + len(found.mail.mails)
        + len(found.webhook.taken)
        == 2
    )


async def test_a_test_message_says_what_the_receiver_answered(found):
    receivers = receivers_of(settings_for(found, slack_token="xoxb-of-nobody"))
    try:
        with pytest.raises(NotTakenError, match="Slack answered invalid_auth; set notify"):
            await send_trial(receivers["slack"], LinksSettings(), NOW_MS)
    finally:
        for receiver in receivers.values():
            await receiver.close()
