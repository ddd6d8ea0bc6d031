"""`show` and the demo's screen at any width: what is shown of a number or a name is all of it."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from support.publications import AS_OF_MS, incident, market_values, others_of_day, suspicion

from streams.console.fitting import Column, FittedTable, TopOf
from streams.demo.demo_plan import Plan
from streams.demo.demo_view import Screen
from streams.index.panes import rfc3339
from streams.index.values import Snapshot
from streams.operate.market_views import MarketView, ViewState
from streams.operate.show import render
from streams.publish.incident_records import published_incident
from streams.publish.incident_words import MarketNaming
from streams.publish.member_records import read_member_names
from streams.publish.other_records import published_others
from streams.publish.sent_records import read_sent, sent_text
from streams.publish.suspicion_records import published_suspicion
from streams.shops.simulate_options import PlantedShift

NAMINGS = {"PK": MarketNaming("Pakistan", "PKR", "Asia/Karachi")}
WIDE = ("চালডাল_বিস্কুট", "美容护肤与个人护理用品", "မုန့်ဟင်းခါး", "home_and_living_of_all_kinds", "[red]")


def view(categories=WIDE, *, base=987_654_321):
    values = market_values("PK", categories, base=base)
    at = rfc3339(AS_OF_MS)
    snapshot = Snapshot("PK", at, at, 2, "live", values, sources={"orders": at, "payments": at})
    return MarketView("PK", ViewState.LIVE, snapshot, b"{}", 4_700, 1_000, {})


def drawn(what, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    return console.file.getvalue()


def together(text):
    """What is printed, without borders and the breaks that folding put into names."""
    return "".join(character for character in text if character not in "│ \n")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_number_and_no_name_is_cut(width):
    text = drawn(render([view()], NAMINGS), width)
    assert "…" not in text
    assert {cell_len(line) for line in text.splitlines()} == {width}, "wide letters take two cells"
    assert "[red]" in text, "a name in brackets is no markup"
    assert "987,654,32" in text
    assert f"{(987_654_321 * len(WIDE)) / 100:,.2f} PKR/min" in text


def test_members_are_named_as_the_list_of_members_names_them():
    listed = {
        "market": "PK",
        "definitions": 4,
        "v": 1,
        "members": {
            "category": [
                {"id": "fashion", "name": "Men's Fashion [new]"},
                {"id": "boots", "parent": "fashion"},
                {"id": "other"},
            ],
            "payment_method": [{"id": "cod", "name": "Cash"}],
        },
    }
    names = read_member_names(msgspec.json.encode(listed))
    shown = view(("fashion", "boots", "other"))._replace(names=names)
    text = drawn(render([shown], NAMINGS), 200)
    for name in ("Men's Fashion [new] ", "boots (Men's Fashion [new])", " other ", " Cash "):
        assert name in text
    assert "cod" not in text
    assert read_member_names(None) == read_member_names(b"{") == {}


@pytest.mark.parametrize(
    ("age_ms", "words"),
    [
        (4_700, "4.7 s ago"),
        (119_900, "119.9 s ago"),
        (179_900, "2 min 59 s ago"),
        (7_199_000, "119 min ago"),
        (9_059_000, "2 h 30 min ago"),
        (71 * 3_600_000, "2 days ago"),
        (-3_900_000, "-65 min ago"),
    ],
)
def test_an_age_is_cut_as_the_length_of_an_incident_is(age_ms, words):
    """The same 2 h 31 min were "3 h" here and "2 h 31 min" in the line below."""
    shown = view()._replace(as_of_age_ms=age_ms)
    assert words in drawn(render([shown], NAMINGS), 200)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_what_is_wrong_is_said_under_the_headline_in_the_words_of_the_page(width):
    stop, over = incident(stopped=True), incident(over_ms=AS_OF_MS)
    shown = view()._replace(
        incidents=[*map(published_incident, (stop, over))],
        suspicions=[published_suspicion(suspicion("category", "books"))],
        sent=read_sent({stop.id: sent_text({"slack": stop.found_ms + 60_000})}),
        restless=["market:all", "category:books"],
    )
    text = together(drawn(render([shown], NAMINGS), width))
    for words in (
        "as of 2023-11-15T03:13:00+05:00, 4.7 s ago",
        "Pakistan: orders have all but stopped. Now: 0 orders in the last minute, 980 usual.",
        "Since 03:03 PKT: 40 orders",
        "Missed so far: 9,760 orders (9,741 to 9,771); PKR 9,760",
        f"{stop.id}, evidence 2.5 times",
        "Books (category, Pakistan): 0 orders for 40 s",
        "Over by 15 Nov 03:13 PKT",
        "began 03:03 PKT, found 03:07 PKT, sent (slack) 03:08 PKT",
        "Books (category, Pakistan), Pakistan: too restless to be watched within the budget: only a",
    ):
        assert together(words) in text
    unknown = drawn(render([shown._replace(sent={})], NAMINGS), 200)
    assert "found 03:07 PKT, sent: not known" in unknown


HOSTILE = "\x1b[31mred\u202egnp[bold] <b>\n" + "\u05d2" * 60
"""An undeclared label of a shop that means harm, in more than 40 characters."""


@pytest.mark.parametrize("width", [40, 80, 200])
def test_labels_that_no_member_has_are_named_and_their_text_does_nothing(width):
    today = others_of_day((HOSTILE, 1_234), ("pet food", 41), total=12_000, unnamed=12, labels=9)
    fine = others_of_day(dimension="region", other=30, unnamed=30)
    today.dimensions.extend(fine.dimensions)
    shown = view()._replace(others=[published_others("PK", today)])
    text = drawn(render([shown], NAMINGS), width)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert together("other: category 10.6 % of 12,000 orders on 2024-10-04:") in together(text)
    assert together("[31mred\N{REPLACEMENT CHARACTER}gnp[bold] <b>") in together(text)
    words = "1,234, pet food 41, 7 more labels, unnamed 12"
    assert together(words) in together(text)
    assert "region" not in text, "nothing of it could have a member"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_what_has_no_room_is_named_and_so_is_the_width_that_has_it(width):
    shown = render([view()], NAMINGS)
    text = together(drawn(shown, width))
    assert "leftouthere:" in text
    needed = int(text.split("shownat")[1].split("characters")[0])
    assert "left out" not in drawn(shown, needed).split("payment method")[0]
    assert "left out" in drawn(shown, needed - 1)


def test_a_number_that_is_shown_is_whole_at_every_width():
    names, numbers = ["অ" * 30, "b"], ["12,345,678.90", "1.00"]
    table = FittedTable("name", names, [Column("a", numbers), Column("b", numbers, 1)])
    for width in range(20, 120):
        text = drawn(table, width)
        whole = text.count("12,345,678.90")
        assert whole == (1 if "left out" in text else 2), width
        assert together(text).count("অ") == 30, "folded, not cut"


def test_the_screen_of_a_demo_fits_too():
    console = Console(file=io.StringIO(), width=60)
    plan = Plan(PlantedShift("PK", "books", 6.0, 0, 1), None, whole=True, story_ms=1)
    screen = Screen(console, plan, NAMINGS)
    text = drawn(screen._overview([view(("books",))]), 60)
    assert "…" not in text
    assert "left out here" in text
    assert "(UTC)" in text


def test_a_category_with_the_name_of_a_column_moves_no_number():
    plan = Plan(PlantedShift("PK", "sales", 6.0, 0, 1), None, whole=True, story_ms=1)
    screen = Screen(Console(file=io.StringIO()), plan, NAMINGS)
    shown = view(("sales",))
    text = drawn(screen._overview([shown]), 200)
    assert text.splitlines()[1].split()[-2:] == screen._cells(shown)[-2:]
    assert text.count("sales/min") == 2


@pytest.mark.parametrize(("height", "left_out"), [(10, True), (200, False)])
def test_a_terminal_that_is_too_low_says_how_many_lines_are_missing(height, left_out):
    console = Console(
        file=io.StringIO(), width=100, height=height, force_terminal=True, color_system=None
    )
    views = [view(), view()._replace(market="BD")]
    whole = len(drawn(render(views, {}), 100).splitlines())
    with Live(console=console, auto_refresh=False) as live:
        live.update(TopOf(render(views, {}), "a higher terminal shows them"), refresh=True)
    text = console.file.getvalue()
    assert ("more lines; a higher" in text) == left_out
    assert "..." not in text
    assert ("BD" in text) != left_out
    if left_out:
        assert f"{whole - height + 1} more lines" in text


def test_a_file_or_a_pipe_has_no_height():
    """`show --watch > FILE` writes the last state when it is stopped: all of it."""
    console = Console(file=io.StringIO(), width=100, height=10)
    views = [view(), view()._replace(market="BD")]
    with Live(console=console, auto_refresh=False) as live:
        live.update(TopOf(render(views, {}), "a higher terminal shows them"), refresh=True)
    assert console.file.getvalue().strip() == drawn(render(views, {}), 100).strip()
