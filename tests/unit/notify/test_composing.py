"""What a message says: the questions of a reader at night, answered from what is known."""

from __future__ import annotations

import doctest
import json
import re
from importlib import import_module

import jsonschema
import msgspec
import pytest
from support.notifications import BEGAN_MS, NOW_MS, RUNBOOK, alert, body, incident, notification
from support.notifying import PK
from support.operator_files import ROOT
from support.publications import suspicion

from streams.index.panes import rfc3339
from streams.notify.advice import ADVICE, OUTAGE
from streams.notify.alert_group import ALERTS_MAX, AlertGroupError, decode_group
from streams.notify.causes import Cause, causes_of
from streams.notify.composing import compose, lasting, refreshed
from streams.notify.market_now import CountNow, MarketNow, ShiftNow, market_now
from streams.notify.message_news import answers_in_force, answers_news
from streams.notify.notice import Notice, NoticeKind
from streams.notify.trial import trial_notice
from streams.publish.incident_records import read_incidents
from streams.publish.incident_words import STAYS_IN_PAGERDUTY
from streams.publish.suspicion_records import published_suspicion
from streams.settings import LinksSettings

SHIFT = ShiftNow("down", rfc3339(BEGAN_MS), 0.0021, 0.001, 0.004, 10.0, 5_030.0, 1.4)
WHOLE = ("market", "all")
STOPPED = MarketNow(
    NOW_MS - 4_000,
    {WHOLE: SHIFT, **{("category", name): SHIFT for name in ("books", "mens_fashion")}},
    {
        (WHOLE, "1m"): CountNow("orders", 2, 1_006.0),
        (WHOLE, "5m"): CountNow("orders", 10, 5_030.0),
        (("category", "books"), "5m"): CountNow("orders", 1, 30.0),
        (("category", "mens_fashion"), "5m"): CountNow("orders", 1, 300.0),
        (("region", "sp"), "5m"): CountNow("orders", 1, 3.0),
    },
)


def published(*found):
    return read_incidents({each["id"]: msgspec.json.encode(each).decode() for each in found})


def said(*alerts, now=STOPPED, began_ms=None, now_ms=NOW_MS, truncated=0, of=None):
    group = decode_group(body(notification(*alerts, truncated=truncated)))
    (cause,) = [None] if of is None else published(of)
    span = lasting(group, now, began_ms, cause)
    return compose(
        group,
        name="ecindex-PK-1",
        kind=NoticeKind.BEGAN,
        span=span,
        now=now,
        now_ms=now_ms,
        naming=PK,
        incident=cause,
    )


WITH_EXAMPLES = (
    "index.shown_sizes",
    "index.shown_text",
    "publish.incident_words",
    "publish.page_records",
    "publish.hash_texts",
    "notify.instant_words",
    "notify.message_receiver",
    "notify.slack_blocks",
    "notify.signed_webhook",
    "notify.chart_data",
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_the_words(name):
    found = doctest.testmod(import_module(f"streams.{name}"))
    assert found.attempted
    assert not found.failed


def test_a_message_of_an_outage_answers_every_question():
    notice = said()
    assert notice.title == "PK: orders have all but stopped"
    assert dict(notice.facts()) == {
        "Since": "04:36 UTC on 2 Jan (09:36 in Asia/Karachi): 5 min before 04:41 UTC on 2 Jan",
        "How large": "0.2 % of usual (0.1 to 0.4): 10 orders counted since then, 5,030 expected",
        "How sure": "evidence 1.4 times what pages when it was found",
        "Affected": "the whole market; all 2 categories",
        "Now": "still so: 2 orders in the last minute, 1,006 expected; "
        "10 orders in 5 minutes, 5,030 expected (as of 04:40 UTC on 2 Jan)",
        "What to do": "Ask whether the shop takes orders (checkout, site, app).",
    }
    assert [(link.name, link.url) for link in notice.links] == [
        ("page", "https://index.example/?market=PK"),
        ("dashboard", "https://grafana.example/d/ecindex-index?var-market=PK&from=1"),
        ("runbook", f"{RUNBOOK}#ecindexmarketoutage"),
    ]
    assert (notice.began, notice.ended) == (rfc3339(BEGAN_MS), None)


def test_what_is_over_says_so_and_for_how_long():
    calm = MarketNow(NOW_MS, {}, {(WHOLE, "1m"): CountNow("orders", 990, 1_006.0)})
    notice = said(alert(firing=False), now=calm, began_ms=BEGAN_MS)
    assert notice.since.endswith("over by 04:41 UTC on 2 Jan, after 5 min at most")
    assert notice.now.startswith("back within what is expected: 990 orders")
    assert notice.ended == rfc3339(NOW_MS)


@pytest.mark.parametrize(
    "now",
    [
        MarketNow(NOW_MS, {}, STOPPED.counts),
        MarketNow(NOW_MS, STOPPED.shifts),
        MarketNow(NOW_MS, {}, {(WHOLE, "1m"): CountNow("orders", 24, 15.0)}),
    ],
    ids=["count", "shift", "a count that chance may explain"],
)
def test_what_the_last_minute_or_a_shift_contradicts_is_not_called_back(now):
    assert "back within" not in said(alert(firing=False), now=now, began_ms=BEGAN_MS).now


def test_a_clock_that_is_behind_gives_no_length_below_0_and_is_named():
    slow_ms = BEGAN_MS - 300_000
    notice = said(of=incident(), now_ms=slow_ms)
    assert notice.since == (
        "04:36 UTC on 2 Jan (09:36 in Asia/Karachi); the clock here is behind by 5 min or more"
    )
    assert notice.now.endswith(
        "(as of 04:40 UTC on 2 Jan; the clock here is behind the index's by 9 min 56 s)"
    )
    assert "behind" not in said(of=incident(), now_ms=NOW_MS - 20_000).now
    ended = alert(firing=False) | {"endsAt": rfc3339(BEGAN_MS - 60_000)}
    over = said(ended, now=MarketNow(NOW_MS), began_ms=BEGAN_MS)
    assert over.since.endswith("; over by 04:35 UTC on 2 Jan"), (
        "by another clock than its beginning"
    )


AFFECTED = [
    {"dimension": "category", "affected": 15, "of": 15, "members": []},
    {"dimension": "region", "affected": 2, "of": 4, "members": [
        {"member": "sindh", "observed": 1, "expected": 9, "excess": -8}]},
]  # fmt: skip

MISSED = {"events": -5_020.0, "lower": -5_040.0, "upper": -4_990.0, "amount_minor": -5_020_000,
          "lower_minor": -5_040_000, "upper_minor": -4_990_000}  # fmt: skip
BY_ALICE = {"kind": "acknowledged", "by": "alice", "at": rfc3339(NOW_MS), "text": "on it"}


def test_an_incident_is_described_by_what_is_published_of_it():
    schema = json.loads((ROOT / "config" / "schemas" / "incident.json").read_text())
    known = incident(affected=AFFECTED, difference=MISSED, acknowledged=BY_ALICE)
    jsonschema.validate(known, schema)
    jsonschema.validate(incident("shop.bd_2-20260102T0437-down"), schema)
    notice = said(of=known)
    assert notice.title == "Pakistan: orders have all but stopped"
    assert dict(notice.facts()) == {
        "Since": "04:36 UTC on 2 Jan (09:36 in Asia/Karachi): 5 min before 04:41 UTC on 2 Jan",
        "How large": "Since 09:36 PKT: 10 orders, 5,030 usual, 0.2 % (0.1 to 0.4). "
        "Missed so far: 5,020 orders (4,990 to 5,040); PKR 50,200 (49,900 to 50,400).",
        "How sure": "evidence 1.4 times what pages when it was found",
        "Affected": "every category, 2 of 4 regions (most Sindh).",
        "Now": "2 orders in the last minute, 1,006 usual. (as of 04:40 UTC on 2 Jan)",
        "Answered": "Acknowledged by alice at 09:41 PKT: on it.",
        "What to do": "Ask whether the shop takes orders (checkout, site, app).",
    }
    assert notice.links[0].url == "https://index.example/?market=PK&incident=PK-20260102T0437-down"
    named = alert()
    named["annotations"]["page_url"] += "&incident=PK-20260102T0437-down"
    assert said(named, of=incident()).links[0].url == notice.links[0].url


COD = ("payment_method", "cod")


def led_by(dimension, member, kind, direction):
    """An incident whose leading series that is, after its market."""
    found = incident(dimension=dimension, member=member, kind=kind)
    (shift,) = found["shifts"]
    own = shift | {"dimension": dimension, "member": member, "direction": direction}
    return found | {"shifts": [shift | {"over": rfc3339(NOW_MS)}, own]}


def runbook_of(notice):
    return next(link.url for link in notice.links if link.name == "runbook").partition("#")[2]


def test_what_to_do_is_said_of_the_series_that_the_title_names():
    """Once cod led and its market was back, messages told for minutes what to do about an outage."""
    collapsed = alert("EcindexPaymentMethodCollapsed", dimension="payment_method", member="cod")
    collapsed["annotations"]["description"] = "Chosen less: ask."
    down = led_by(*COD, "outage", "down")
    notice = said(alert(), collapsed, of=down)
    assert (notice.advice, runbook_of(notice)) == (
        "Chosen less: ask.",
        collapsed["annotations"]["runbook_url"].partition("#")[2],
    )
    assert notice.title.startswith("Cash on delivery (payments, Pakistan)")
    notice = said(alert(), of=down)
    assert notice.advice.startswith("Chosen less: ask who owns the checkout")
    assert runbook_of(notice) == "ecindexpaymentmethodcollapsed"
    before = said(of=incident())
    assert runbook_of(before) == "ecindexmarketoutage"
    (now_led,) = published(down)
    after = refreshed(before, now_led, STOPPED, NOW_MS, PK)
    assert (after.advice, runbook_of(after)) == (notice.advice, runbook_of(notice))
    (whole,) = published(incident())
    again = refreshed(after, whole, STOPPED, NOW_MS, PK)
    assert again.advice.startswith("Ask whether the shop takes orders")
    assert runbook_of(again) == "ecindexmarketoutage"


@pytest.mark.parametrize(
    ("dimension", "kind", "direction", "says", "entry"),
    [
        ("category", "outage", "down", "delisted", "ecindexdemandshift"),
        ("category", "jump", "up", "price and listing", "ecindexdemandshift"),
        ("payment_method", "jump", "up", "another method is out of order", "ecindexdemandshift"),
        ("payment_failure", "jump", "up", "call its provider", "ecindexpaymentfailures"),
        ("channel", "drop", "down", "can order there", "ecindexdemandshift"),
        ("region", "jump", "up", "campaign there", "ecindexdemandshift"),
    ],
)
def test_what_to_do_is_of_the_dimension_and_the_direction(dimension, kind, direction, says, entry):
    found = led_by(dimension, "toys", kind, direction)
    notice = said(alert(), of=found)
    assert says in notice.advice
    assert runbook_of(notice) == entry
    shown = next(link.url for link in notice.links if link.name == "dashboard")
    assert ("var-category=toys" in shown) is (dimension == "category")


def test_messages_and_alerts_say_the_same_about_what_to_do():
    alerts = " ".join((ROOT / "config/prometheus/alerts.yml").read_text().split())
    silent = ADVICE["payment_failure", -1]
    for each in {OUTAGE, *ADVICE.values()} - {silent}:
        assert each.text.removesuffix(".") in alerts
        assert f"- alert: {each.alert} " in alerts


def test_the_message_of_the_contract_has_every_field():
    text = (ROOT / "docs" / "contract.md").read_text().partition("\n## A message\n")[2]
    (example, table) = re.match(r".*?```json\n(.*?)```(.*?)\n## ", text, re.DOTALL).groups()
    assert set(json.loads(example)) == set(Notice.__struct_fields__)
    assert msgspec.json.decode(example, type=Notice, strict=True).kind is NoticeKind.BEGAN
    named = set(re.findall(r"`(\w+)`", table))
    said_by_title_to_advice = {"since", "sent_at", "market", "size", "sureness", "affected", "now"}
    assert set(Notice.__struct_fields__) - named == said_by_title_to_advice
    assert {kind.value for kind in NoticeKind} <= named


def test_an_incident_that_comes_back_or_is_over_is_not_called_still_so():
    assert said(of=incident(evidence=164_687.4)).sureness.startswith(
        "evidence more than 1,000 times"
    )
    back = said(of=incident(state="returning"))
    assert back.title == "Pakistan: orders had all but stopped and are coming back"
    assert "Its end is not confirmed yet. (as of 04:40" in back.now
    over = said(alert(firing=False), of=incident(over=rfc3339(NOW_MS - 120_000)))
    assert over.since.endswith("; over by 04:39 UTC on 2 Jan, after 3 min at most")
    assert over.ended == rfc3339(NOW_MS - 120_000)
    assert over.title == "Pakistan: orders had all but stopped"
    assert over.now == "Over by 2 Jan 09:39 PKT; it lasted 3 min at most."
    fires_on = said(of=incident(over=rfc3339(NOW_MS)))
    assert fires_on.now.startswith("Over by 2 Jan 09:41 PKT"), "its alert fires on for minutes"


def test_a_notification_is_divided_by_cause():
    alerts = [
        alert("EcindexDemandShift", dimension="category", member=member)
        for member in ("books", "toys", "games")
    ]
    group = decode_group(
        body(notification(*alerts, alert("EcindexPaymentFailures", method="card")))
    )
    known = published(
        incident("PK-20260102T0437-down", member="books"),
        incident("PK-20260102T0310-up", member="toys"),
        incident("PK-20260101T0310-up", member="games", over=rfc3339(BEGAN_MS)),
    )

    def held_by(alert):
        return "PK-20260101T2000-up" if "toys" in alert else None

    causes = causes_of(group, known, "group", held_by)
    assert [(c.name, len(c.group.alerts), c.incident and c.incident.id) for c in causes] == [
        ("PK-20260102T0437-down", 1, "PK-20260102T0437-down"),
        ("PK-20260101T2000-up", 1, None),
        ("group", 2, None),
    ], "what is over does not fire; failures by a threshold alone are no incident"
    labelled = alert("EcindexDemandShift", member="toys", incident="PK-20260102T0311-up")
    hostile = alert("EcindexDemandShift", incident="<!channel>-20260102T0311-up")
    group = decode_group(body(notification(labelled, hostile)))
    causes = causes_of(group, known, "group", lambda _alert: None)
    assert [(c.name, c.named) for c in causes] == [("PK-20260102T0311-up", True), ("group", False)]
    gone = [each | {"status": "resolved"} for each in alerts]
    group = decode_group(body(notification(*gone)))
    names = [cause.name for cause in causes_of(group, known, "group", lambda _alert: None)]
    assert names == ["PK-20260102T0437-down", "PK-20260102T0310-up", "PK-20260101T0310-up"]


def test_an_alert_that_fires_on_after_its_shift_is_not_called_still_so():
    assert said(now=MarketNow(NOW_MS, {}, {})).now == (
        "the detector no longer sees it; the alert ends within minutes (as of 04:41 UTC on 2 Jan)"
    )


@pytest.mark.parametrize("firing", [True, False])
def test_an_alert_that_is_no_shift_has_not_the_words_of_one(firing):
    found = alert("EcindexNoFreshValues", firing=firing, dimension=None, member=None)
    for now in (STOPPED, MarketNow(STOPPED.as_of_ms, {}, STOPPED.counts)):
        notice = said(found, now=now)
        assert (notice.size, notice.sureness, notice.affected) == ("", "", "")
        assert (notice.alerts[0].dimension, notice.alerts[0].member) == ("", "")
        assert notice.began == rfc3339(BEGAN_MS + 75_000), "the alert's, no shift's"
        assert notice.now == (
            "2 orders in the last minute, 1,006 expected; 10 orders in 5 minutes, 5,030 expected "
            "(as of 04:40 UTC on 2 Jan)"
        )


def test_old_and_unknown_numbers_are_called_so():
    old = said(now=msgspec.structs.replace(STOPPED, as_of_ms=NOW_MS - 130_000))
    assert old.now.endswith(" (as of 04:38 UTC on 2 Jan, 2 min 10 s before this was written)")
    unknown = said(now=MarketNow(unknown="Redis does not answer (refused)"))
    assert unknown.now == "how it is now is not known: Redis does not answer (refused)"
    assert unknown.since.endswith(
        "when the alert began to fire: 3 min 45 s before 04:41 UTC on 2 Jan"
    )


def test_an_unset_link_is_none():
    assert said(alert(links=False)).links == ()


def test_the_market_stands_for_its_group_and_the_others_are_counted():
    member = [alert("EcindexDemandShift", dimension="category", member=f"m{n}") for n in range(29)]
    notice = said(*member, alert(), now=MarketNow(), truncated=3)
    assert notice.alerts[0].name == "EcindexMarketOutage"
    assert (len(notice.alerts), notice.left_out) == (20, 13)
    assert notice.affected == "the whole market; categories m0, m1, m10, m11, m12 and 24 more"


def test_the_alert_of_what_leads_the_incident_stands_for_its_message():
    """What was called a false alarm fires on for minutes; the rest was told under its name."""
    false = alert("EcindexMarketShift")
    toys = alert("EcindexDemandShift", dimension="category", member="toys")
    notice = said(false, toys, of=incident(member="toys"))
    assert [each.member for each in notice.alerts] == ["toys", "all"]
    assert notice.links[-1].url == f"{RUNBOOK}#ecindexdemandshift"
    assert said(false, of=incident(member="toys")).alerts[0].member == "all"


def test_since_when_is_of_the_series_that_the_title_names():
    before = rfc3339(BEGAN_MS - 7 * 60_000)
    notice = said(of=incident(began=before))
    assert notice.since == (
        "04:36 UTC on 2 Jan (09:36 in Asia/Karachi): 5 min before 04:41 UTC on 2 Jan; "
        "the first of it began 04:29 UTC on 2 Jan"
    )
    assert notice.began == before


def test_an_alert_of_the_service_has_no_market():
    found = alert(
        "EcindexNoWorker",
        market=None,
        dimension=None,
        member=None,
        summary="No worker since 1 min: 3",
    )
    notice = said(found, now=MarketNow())
    assert notice.title == "No worker since 1 min: 3 (04:41 UTC on 2 Jan)"
    assert (notice.market, notice.affected, notice.now) == ("", "", "")


def test_a_service_message_that_nobody_refreshes_says_instants_and_no_now_without_content():
    """An age stood there hours later, beside a "Now" that said only how old it was."""
    long = "PK: the newest values from orders are 2m 3s old" + "x" * 200
    found = alert("EcindexNoFreshValues", dimension=None, member=None, summary=long)
    notice = said(found, now=MarketNow(NOW_MS - 660_000))
    assert notice.title.endswith("x… (04:41 UTC on 2 Jan)")
    assert len(notice.title) == 140
    facts = dict(notice.facts())
    assert facts["Since"].endswith("began to fire: 3 min 45 s before 04:41 UTC on 2 Jan")
    assert facts["Now"] == (
        "the newest values are as of 04:30 UTC on 2 Jan, 11 min before this was written"
    )
    assert "Now" not in dict(said(found, now=MarketNow()).facts())
    over = said(found | {"status": "resolved", "endsAt": rfc3339(NOW_MS)})
    assert "UTC" not in over.title, "when it was last so is not known"


def test_no_message_counts_from_when_it_is_read():
    """Whatever is sent may be read hours later: only instants are true then."""
    service = alert("EcindexNoWorker", market=None, dimension=None, member=None)
    old = msgspec.structs.replace(STOPPED, as_of_ms=NOW_MS - 130_000)
    for notice in (
        said(), said(now=old), said(now=MarketNow(unknown="x")), said(of=incident()), said(service),
        said(alert(firing=False)), trial_notice(LinksSettings(), NOW_MS),
    ):  # fmt: skip
        assert not re.search(r"\bago\b", msgspec.json.encode(notice).decode())


def note(number, text):
    return {"kind": "note", "by": "eve", "at": rfc3339(NOW_MS + number * 1_000), "text": text}


def test_the_newest_note_is_said_and_older_ones_give_way():
    """What was cut at its end had lost the newest note."""
    notes = [note(number, f"{number}: " + "w" * 900) for number in range(3)]
    verdict = BY_ALICE | {"kind": "false_alarm", "text": "v" * 900}
    notice = said(of=incident(notes=notes, acknowledged=BY_ALICE, verdict=verdict))
    assert notice.answered.startswith("Note by eve at 09:41 PKT: 2: www")
    assert "Acknowledged by alice at 09:41 PKT: on it." in notice.answered
    assert "A false alarm, says alice: vvv" in notice.answered
    assert "0: w" not in notice.answered
    assert len(notice.answered) <= 1_000
    short = said(of=incident(notes=[note(0, "a"), note(1, "b")], silenced_by="PK-1"))
    assert short.answered == (
        "It does not page: PK-1 was answered. Note by eve at 09:41 PKT: b Note by eve at 09:41 PKT: a"
    )


ACK, ACK_BY_BOB = BY_ALICE, BY_ALICE | {"by": "bob", "at": rfc3339(NOW_MS + 60_000), "text": ""}
WRONG = ACK_BY_BOB | {"kind": "false_alarm"}
PLANNED = BY_ALICE | {"kind": "expected", "until": rfc3339(NOW_MS + 3_600_000), "text": ""}


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        ({}, {}, ""),
        ({"acknowledged": ACK}, {"acknowledged": ACK}, ""),
        ({}, {"acknowledged": ACK}, "Acknowledged by alice at 09:41 PKT: on it."),
        (
            {"acknowledged": ACK},
            {"acknowledged": ACK, "verdict": WRONG},
            "A false alarm, says bob: it pages, since more was found later.",
        ),
        (
            {"acknowledged": ACK, "verdict": WRONG},
            {"acknowledged": ACK},
            "Taken back: a false alarm (bob, 09:42 PKT).",
        ),
        (
            {"acknowledged": ACK},
            {},
            f"Taken back: acknowledged (alice, 09:41 PKT). {STAYS_IN_PAGERDUTY}",
        ),
        ({"acknowledged": ACK}, {"acknowledged": ACK_BY_BOB}, "Acknowledged by bob at 09:42 PKT."),
        (
            {"verdict": PLANNED},
            {"verdict": WRONG | {"text": "a test"}},
            "A false alarm, says bob: a test; it pages, since more was found later.",
        ),
        (
            {"verdict": WRONG},
            {"verdict": PLANNED},
            (
                "Taken back: a false alarm (bob, 09:42 PKT). Expected until 10:41 PKT, says alice: it "
                "pages, since more was found later."
            ),
        ),
        (
            {"notes": [note(0, "a")]},
            {"notes": [note(0, "a"), note(1, "b"), note(60, "c")]},
            "Note by eve at 09:42 PKT: c Note by eve at 09:41 PKT: b",
        ),
        ({"notes": [note(0, "a")]}, {}, "Taken back: the notes."),
        ({"notes": [note(0, "a"), note(1, "b")]}, {"notes": [note(1, "b")]}, ""),
        ({"notes": [note(0, "a")]}, {"notes": [note(n, "b") for n in range(1, 21)]}, None),
    ],
)
def test_only_what_is_new_of_the_answers_is_news_and_what_was_taken_back_is_said_so(
    before, after, news
):
    ((old,), (new,)) = published(incident(**before)), published(incident(**after))
    found = answers_news(answers_in_force(old), new, PK, in_pagerduty=True)
    if news is None:
        assert "Taken back" not in found, "the oldest of many notes is forgotten, not taken back"
    else:
        assert found == news
    assert answers_news(answers_in_force(new), new, PK, in_pagerduty=True) == ""


def test_labels_that_want_to_be_more_than_text_are_not():
    hostile = "<!channel> *b* `x`\n\x1b[31m\u202egnp\u200b" + "x" * 500
    found = alert(market=hostile, member=hostile, summary=f"{hostile}: down since 1")
    notice = said(found)
    for text in (notice.title, notice.market, notice.affected, notice.alerts[0].member):
        assert not set(text) & set("\n\x1b\u202e\u200b")
        assert len(text) <= 600


def test_a_link_cannot_be_broken_out_of():
    found = alert()
    found["annotations"]["page_url"] = "https://x.example/?m=<!here>|\"' \n\u202e>"
    (url,) = (link.url for link in said(found).links if link.name == "page")
    assert url == "https://x.example/?m=%3C!here%3E%7C%22'%20%0A%E2%80%AE%3E"
    found["annotations"]["page_url"] = "javascript:alert(1)//https://"
    assert [link.name for link in said(found).links] == ["dashboard", "runbook"]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"version": "3"}, "version 4, found '3'"),
        ({"alerts": []}, "1 to 1000 alerts, found 0"),
        ({"alerts": [alert()] * (ALERTS_MAX + 1)}, "found 1001"),
        ({"groupKey": ""}, "a group key"),
        ({"alerts": [{"status": "firing"}]}, "missing required field `labels`"),
    ],
)
def test_what_is_no_notification_is_refused(found, words):
    with pytest.raises(AlertGroupError, match=words):
        decode_group(body(notification() | found))
    with pytest.raises(AlertGroupError, match="JSON"):
        decode_group(b"\xff{")


def test_what_redis_holds_is_read_and_what_it_cannot_mean_is_left_out():
    value = {
        "market": "PK", "index": "orders", "dimension": "market", "member": "all", "window": "5m",
        "as_of": rfc3339(NOW_MS), "value": 10, "unit": "count", "observed": 10, "covered": 1.0,
        "n": 10, "status": "ok", "phase": "live", "revision": 0, "edition": 3, "expected": 5030.0,
    }  # fmt: skip
    snapshot = {
        "market": "PK", "as_of": rfc3339(NOW_MS), "published_at": rfc3339(NOW_MS), "edition": 3,
        "phase": "live", "values": [value, value | {"window": "1h"}, value | {"index": "payments"}],
    }  # fmt: skip
    fields = {b"market:all": msgspec.json.encode(SHIFT), b"category:\xff": b"{}"}
    total = published_suspicion(suspicion())
    suspected = {b"market:all": msgspec.json.encode(total), b"x": b"{}"}
    now = market_now(msgspec.json.encode(snapshot), fields, {b"x": b"{}"}, suspected)
    counts = {(WHOLE, "5m"): CountNow("orders", 10.0, 5030.0)}
    assert now == MarketNow(NOW_MS, {WHOLE: SHIFT}, counts, suspicions=[total])


@pytest.mark.parametrize("market", ["PK", "shop.pk", "a-b_c"])
def test_an_incident_of_any_market_is_known_by_its_name(market):
    """One whose market's code has a dot was told as over while it went on."""
    assert Cause(f"{market}-20261129T0217-down", None, None).named
