"""A name that would break a key, hide a member or starve a worker is refused when it is read."""

from __future__ import annotations

import json
import tomllib

import pytest

from streams.index.identifiers import CELLS_MAX, RESERVED, WATCHED_MAX
from streams.index.methodology import MethodologyError, parse
from streams.settings import Settings, SettingsError, load_settings
from tests.support.methodologies import DEMO_TEXT


def methodology(codes=("PK",), categories=("books",), more="", top="", market=""):
    """Text of a methodology of these markets."""
    sections = "\n".join(
        f'[markets.{json.dumps(code)}]\nname = "A market"\ncurrency = "PKR"\n'
        f'time_zone = "Asia/Karachi"\ncategories = "some"\n{market}\n'
        for code in codes
    )
    return f"""
edition = 1
{top}
methods.cod.digital = false
methods.card.digital = true
channels.web = {{}}
category_sets.some = {json.dumps(list(categories), ensure_ascii=False)}
{sections}
{more}
"""


def refused(text):
    with pytest.raises(MethodologyError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message, "a line of a log stays a line"
    assert len(message) < 600
    return message


@pytest.mark.parametrize("code", ["PK", "pk", "a", "m-1", "eu.west_2", "X" * 32, "7"])
def test_a_code_that_fits_a_key_is_accepted(code):
    assert list(parse(methodology([code])).markets) == [code]


@pytest.mark.parametrize(
    "code",
    [
        "a|b", "", "}x", "{x", "a\nb", "a b", " PK", "PK ", "a:b", "a/b", "-a", "a-", ".", "..",
        "a\x00b",
        "X" * 33, "X" * 300, "বাংলা", "*", "a@b", "a,b", '"', "a\u200bb",
    ],
)  # fmt: skip
def test_a_code_that_would_break_a_key_is_refused_by_name(code):
    assert "markets." in refused(methodology([code]))


@pytest.mark.parametrize("word", [*sorted(RESERVED), "Fence", "MARK"])
def test_a_word_of_our_own_keys_is_no_market(word):
    assert f"markets.{word!r}" in refused(methodology([word]))


def test_codes_that_differ_by_case_only_are_refused():
    message = refused(methodology(["PK", "pk"]))
    assert "markets.'pk'" in message
    assert "markets.'PK'" in message


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"categories": ["x" * 97]}, "category"),
        ({"categories": ["মোবাইল" * 20]}, "category"),
        ({"categories": [""]}, "categor"),
        ({"categories": ["!!"]}, "categor"),
        ({"categories": ["a\nb"]}, "categor"),
        ({"categories": ["all"]}, "categor"),
        ({"categories": ["other"]}, "categor"),
        ({"categories": ["books", "books"]}, "categor"),
        ({"market": 'regions = ["a|b\\n"]'}, "region"),
        ({"market": 'regions = [""]'}, "region"),
        ({"top": 'methods."".digital = true'}, "method"),
        ({"top": f"methods.{'m' * 97}.digital = true"}, "method"),
        ({"top": 'channels."all" = {}'}, "channel"),
        ({"top": 'channels.app.aliases = ["--"]'}, "alias"),
        ({"top": 'methods.bnpl = {digital = true, aliases = [""]}'}, "alias"),
    ],
)
def test_members_that_cannot_be_told_apart_or_read_are_refused(change, setting):
    assert setting in refused(methodology(**change))


@pytest.mark.parametrize(
    ("old", "new", "setting"),
    [
        ('"A market"', '""', "name"),
        ('"A market"', '"a\\nb"', "name"),
        ('"PKR"', '"pkr"', "currency"),
        ('"PKR"', '"rupees"', "currency"),
    ],
)
def test_what_a_market_says_of_itself_is_checked(old, new, setting):
    assert f"markets.'PK'.{setting}" in refused(methodology().replace(old, new))


def test_no_category_becomes_other_without_a_word():
    many = [f"c{number}" for number in range(500)]
    message = refused(methodology(categories=many))
    assert "markets.'PK'.members_max: 500 members of category" in message
    kept = parse(methodology(categories=many, market="members_max = 500"))
    assert kept.markets["PK"].categories == (*many, "other")


@pytest.mark.parametrize(
    ("market", "dimension"),
    [
        ("members_max = 1", "payment_method"),
        ('members_max = 2\nregions = ["a", "b", "c"]', "region"),
    ],
)
def test_no_member_of_another_dimension_either(market, dimension):
    assert f"members of {dimension}" in refused(methodology(market=market))


def test_more_series_than_one_record_of_detectors_holds_are_refused():
    """One with more was accepted, and its worker ended at its first record."""
    many = [f"c{number}" for number in range(400)]
    regions = json.dumps([f"r{number}" for number in range(280)])
    market = f"members_max = 500\nregions = {regions}"
    message = refused(methodology(categories=many, market=market))
    assert f"at most {WATCHED_MAX} can be: list fewer members" in message
    assert parse(methodology(categories=many[:300], market=market))


def test_more_state_than_a_worker_holds_is_refused_with_what_to_change():
    many = [f"c{number}" for number in range(500)]
    codes = [f"M{number}" for number in range(50)]
    message = refused(methodology(codes, many, market="members_max = 500"))
    assert f"at most {CELLS_MAX}" in message
    assert "category_sets" in message


def test_an_event_of_a_market_that_is_not_there_is_refused():
    event = '[[events]]\nname = "Eid"\nmarkets = ["PKK"]\nfrom = 2026-03-20\nto = 2026-03-23\n'
    message = refused(methodology(more=event))
    assert "'PKK'" in message
    assert parse(methodology(more=event.replace("PKK", "PK"))).markets["PK"].events


EID = '[[events]]\nname = "Eid"\nmarkets = ["PK"]\nfrom = 2026-03-20\nto = 2026-03-23\n'


@pytest.mark.parametrize(
    "member",
    [
        "category:boks",
        "categories:books",
        "books",
        "",
        "market:PK",
        "market:all",
        "payment_method:",
    ],
)
def test_an_event_of_a_member_that_is_not_there_is_refused(member):
    """It was accepted and had no effect: the planned event paged."""
    assert repr(member) in refused(methodology(more=f"{EID}member = {json.dumps(member)}\n"))


@pytest.mark.parametrize(
    ("member", "scope"),
    [
        ("all", ("market", "all")),
        ("category:Books", ("category", "books")),
        ("category:other", ("category", "other")),
        ("payment_method:card", ("payment_method", "card")),
    ],
)
def test_an_event_of_a_member_that_is_there_concerns_it(member, scope):
    (event,) = parse(methodology(more=f'{EID}member = "{member}"\n')).markets["PK"].events
    assert (event.dimension, event.member) == scope


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('["PK"]', "[]", "`markets` must name a market"),
        ("2026-03-20", "0026-03-20", "from 1970 to 2100"),
        ("2026-03-23", "9999-12-31", "from 1970 to 2100"),
        ("to =", "factor = 1e-9\nto =", "0.001"),
        ("to =", "factor = nan\nto =", "factor must be"),
    ],
)
def test_an_event_that_could_have_no_effect_is_refused(before, after, named):
    assert named in refused(methodology(more=EID.replace(before, after)))
    assert parse(methodology(more=f"{EID}factor = 0\n")).markets["PK"].events[0].factor == 0


def test_a_base_in_a_year_that_is_a_slip_of_the_hand_is_refused():
    base = "base = { from = 0017-01-01, to = 0018-01-01 }"
    assert "markets.PK.base: `from` and `to`" in refused(methodology(market=base))


def test_the_shipped_methodology_keeps_its_hash():
    text = DEMO_TEXT
    assert parse(text).markets.keys() == tomllib.loads(text)["markets"].keys()


@pytest.mark.parametrize(
    ("overrides", "setting"),
    [
        ({"topics.orders": "orders", "topics.payments": "orders"}, "topics.payments"),
        ({"topics.orders": "ecindex.late"}, "topics"),
        ({"topics.payments": "shop.values", "topics.prefix": "shop"}, "topics"),
        ({"topics.orders": "."}, "topics.orders"),
        ({"topics.prefix": ".."}, "topics.prefix"),
        ({"topics.orders": "o" * 150, "topics.prefix": "p" * 100}, "topics"),
        ({"topics.orders": "a|b"}, "topics.orders"),
        ({"topics.orders": "orders\n"}, "topics.orders"),
        ({"topics.prefix": ""}, "topics.prefix"),
        ({"redis.prefix": "{x}"}, "redis.prefix"),
        ({"redis.prefix": "x\n"}, "redis.prefix"),
    ],
)
def test_names_of_topics_and_keys_that_cannot_be_are_refused_at_start(overrides, setting):
    with pytest.raises(SettingsError, match=setting):
        load_settings(None, overrides)


def test_the_defaults_are_accepted():
    topics = Settings().topics
    assert load_settings(None, {"topics.orders": "orders"}).topics == topics
    assert (
        load_settings(None, {"topics.orders": "ecindex.orders"}).topics.orders == "ecindex.orders"
    )


def test_a_joiner_of_letters_is_part_of_a_name():
    text = methodology().replace('"A market"', '"\u09b0\u200c\u09cd\u09af\u09be\u09ac"')
    assert "\u200c" in parse(text).markets["PK"].name
