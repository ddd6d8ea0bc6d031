"""One name, one member: in every script, however it is typed, under every Python."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.index.label_text import LABEL_BYTES_MAX
from streams.index.methodology import MethodologyError, parse
from streams.index.slugs import slug
from streams.index.unicode_words import CHANGED_RANGES, UNICODE_VERSION, WORD_RANGES
from tests.support.draws import examples
from tests.support.methodologies import DEMO_TEXT as TEXT
from tests.support.reference.rules import to_slug
from tools.unicode_words import changed, is_word, ranges

NAMES = (
    "চাল", "চুল",  # Bengali: rice, hair
    "बाल", "बेल",  # Hindi: hair, a fruit
    "ආහාර", "ඇහැර", "ක්‍රීඩා", "ශ්‍රී_ලංකා",  # Sinhala: food, except, sports (with a joiner)
    "ဆန်", "ဆီ", "မြန်မာ",  # Burmese: rice, oil
    "चामल", "चमेली", "नेपाली",  # Nepali
    "اردو", "اُردو", "کتاب", "کُتُب", "می‌خواهم",  # Urdu with and without vowels; Persian with a joiner
    "மளிகை", "ราคา", "ราคี", "ភាសា", "عِطر", "ქართული", "日本語", "한국어", "ⴰⵎⴰⵣⵉⵖ",
)  # fmt: skip


def test_names_in_their_script_stay_what_they_are_and_stay_apart():
    assert [slug(name) for name in NAMES] == list(NAMES)
    assert len(set(map(slug, NAMES))) == len(NAMES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Men's Fashion", "mens-fashion"),
        ("mens_fashion", "MEN\u2019S  FASHION"),
        ("Café", "cafe\u0301"),
        ("कपड़े", "कपड\u093cे"),
        ("ক\u09cb", "ক\u09c7\u09be"),
        ("ﻻ", "لا"),
        ("\uff22\uff4f\uff4f\uff4b\uff53", "books"),
        ("straße", "STRASSE"),
        ("boo\u00adks", "books"),
        ("❤\ufe0f gifts", "gifts"),
        ("foo\u200dbar", "foobar"),
        ("\uff2d\uff25\uff2e\uff07\uff33", "mens"),
        ("№ 5", "No-5"),
        ("Ⅷ", "viii"),
        ("Ταΐζω", "ται\u0308\u0301ζω"),
        ("a ≠ b", "a =\u0338 b"),
        ("বই'\u200dপত্র", "বইপত্র"),
        ("বই\U0001bca0পত্র", "বইপত্র"),
    ],
)
def test_one_name_typed_in_two_ways_is_one_member(one, other):
    assert slug(one) == slug(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [("İstanbul", "istanbul"), ("اردو", "اُردو"), ("ක්‍රීඩා", "ක්රීඩා"), ("\u0131stanbul", "istanbul")],
)
def test_what_a_reader_tells_apart_stays_apart(one, other):
    assert slug(one) != slug(other)


def test_long_names_that_begin_alike_stay_apart_and_whole_letters():
    stem = "আসবাবপত্র ও গৃহসজ্জা > "
    one, other = stem * 4 + "ক", stem * 4 + "খ"
    for name in (slug(one), slug(other), slug("x" * 500), slug("e\u0301" * 200)):
        assert len(name.encode()) <= LABEL_BYTES_MAX
        assert slug(name) == name
    assert slug(one) != slug(other)
    assert slug(one)[:10] == slug(stem)[:10]
    assert slug("x" * 96) == "x" * 96


def test_a_label_of_thousands_of_marks_is_read_no_further_than_its_beginning():
    # To put 64,000 marks in order took seconds, and nothing else ran meanwhile.
    marks = "a" + "\u0315\u0334" * 100_000
    assert slug(marks) != slug(marks + "b")
    for text in ("a" * 1_000, "a" * 1_001, "A" * 1_001, "_" * 1_001, "আ" * 1_001, "e\u0301" * 501):
        assert slug(text) == to_slug(text)
        assert slug(slug(text)) == slug(text) != slug(text + "b")
    assert slug("A" * 1_000) == slug("a" * 1_000)


TRICKY = (
    "_-' \u200c\u200d\u0301\u0307\u093c\u09be\u09c7\ufe0f\u00ad\u0130\u0131\u00df\ufb00\u2019\uff07"
    "\u2167\u2460\u3200\ufdfa\u0345\u1e9e\u0390=\u0338<"
)
texts = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(TRICKY),
    ),
    max_size=60,
)


@examples(600)
@given(texts)
def test_a_member_is_its_own_name(text):
    name = slug(text)
    assert slug(name) == name
    assert unicodedata.is_normalized("NFKC", name)
    for form in ("NFC", "NFD"):
        assert slug(unicodedata.normalize(form, text)) == name
    assert len(name.encode(errors="surrogatepass")) <= LABEL_BYTES_MAX


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="another version's tables")
@examples(600)
@given(texts)
def test_the_reference_names_it_alike(text):
    assert to_slug(text) == slug(text)


@pytest.mark.skipif(
    unicodedata.unidata_version != UNICODE_VERSION, reason="another version's tables"
)
def test_the_table_is_that_of_its_unicode_version():
    assert bounds(WORD_RANGES) == ranges(is_word)
    assert bounds(CHANGED_RANGES) == ranges(changed().__contains__)


def bounds(written):
    found = [each.partition("-") for each in written.split()]
    return [(int(first, 16), int(last or first, 16)) for first, _, last in found]


def test_every_character_of_the_table_is_assigned_in_this_python():
    # A Python with newer tables takes the same names: these characters never change.
    assert sys.version_info >= (3, 11)
    for first, last in bounds(WORD_RANGES + CHANGED_RANGES):
        for code in range(first, last + 1):
            assert unicodedata.category(chr(code)) != "Cn"


def test_a_letter_of_a_later_version_separates_until_the_edition_has_it():
    assert slug("a\U0001e4d0b") == "a_b"  # assigned in Unicode 15.0


def with_category(*names: str) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return TEXT.replace(
        '"school_education", "books",', f'"school_education", "books", {quoted},', 1
    )


def test_a_category_is_declared_as_it_is_written():
    market = parse(with_category("চাল", "Kid's Shoes", "Cafe\u0301")).markets["PK"]
    assert market.categories[-4:] == ("চাল", "kids_shoes", "café", "other")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("Books",), "'books' and 'Books' are one member"),
        (("Café", "cafe\u0301"), "are one member"),
        (("Other",), "cannot be a member"),
        (("ALL",), "cannot be a member"),
        (("!!",), "cannot be a member"),
    ],
)
def test_names_that_are_one_member_or_none_are_refused(names, found):
    with pytest.raises(MethodologyError, match=found):
        parse(with_category(*names))


def test_the_unicode_version_is_part_of_the_edition(monkeypatch):
    before = parse(TEXT).content_hash
    monkeypatch.setattr("streams.index.methodology.UNICODE_VERSION", "15.1.0")
    assert parse(TEXT).content_hash != before
