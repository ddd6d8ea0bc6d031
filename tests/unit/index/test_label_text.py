"""What a reader takes for one text is one label, under every Python."""

from __future__ import annotations

import doctest
import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.index import label_text, slugs
from streams.index.label_text import (
    ABSENT,
    LABEL_BYTES_MAX,
    MORE,
    UNICODE,
    label_of,
    normal,
)
from streams.index.slugs import slug
from tests.support.draws import examples
from tests.support.reference.rules import to_label, to_normal

ZALGO = "z\u0337\u0322\u030d\u0310a\u0334\u0316l\u0301\u0327go"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Men's  Fashion ", "men's fashion"),
        ("MEN\u2019S FASHION", "men\u2019s fashion"),
        ("Cash-on-Delivery", "cash-on-delivery"),
        ("cash_on_delivery", "cash_on_delivery"),
        ("চাল", "চাল"),
        ("চুল", "চুল"),
        ("ঢাকা", "ঢাকা"),
        ("ঢেকে", "ঢেকে"),
        ("ক\u09c7\u09beট", "ক\u09cbট"),
        ("\u09af\u09bc", "\u09af\u09bc"),  # its one code point is excluded from composition
        ("\u09df", "\u09af\u09bc"),
        ("عِطر", "عِطر"),
        ("عطر", "عطر"),
        ("ﻻ", "لا"),
        ("\u200fدبي\u200e", "دبي"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # noqa: RUF001
        ("میخواهم", "میخواهم"),
        ("\u200cمی\u200c خواهم\u200c", "می خواهم"),
        ("ශ්\u200dරී ලංකා", "ශ්\u200dරී ලංකා"),
        ("ක්\u200dෂ", "ක්\u200dෂ"),
        ("क्\u200dष", "क्\u200dष"),
        ("क्\u200c\u200d\u200dष", "क्\u200dष"),
        ("क्ष", "क्ष"),
        ("ราคา", "ราคา"),
        ("ราค\u0e33", "ราค\u0e4d\u0e32"),  # NFKC takes SARA AM apart
        ("İstanbul", "i\u0307stanbul"),
        ("istanbul", "istanbul"),
        ("ISTANBUL", "istanbul"),
        ("\u0131stanbul", "\u0131stanbul"),
        ("Straße", "strasse"),
        ("GRO\u1e9eE", "grosse"),
        ("ΛΌΓΟΣ", "λόγοσ"),
        ("λόγος", "λόγοσ"),
        ("Ταΐζω", "ταΐζω"),
        ("caf\u00e9", "caf\u00e9"),
        ("CAFE\u0301", "caf\u00e9"),
        ("cafe\u200d\u0301", "caf\u00e9"),
        ("\uff22\uff4f\uff4f\uff4b\uff53\u3000\uff06\u3000\uff23\uff24", "books & cd"),
        ("ｶﾞｽ", "ガス"),
        ("\u2167 \u00bd \u2122 \u2026", "viii 1\u20442 tm ..."),
        ("a \u2260 b", "a \u2260 b"),
        ("a =\u0338 b", "a \u2260 b"),
        ("=\u200d\u0338", "\u2260"),
        ("=\u200d\u0338\u200dক", "\u2260ক"),  # loose once the two before it are one
        ("\u202eabc\u202c \u2066x\u2069", "abc x"),
        ("boo\u00adks\u200b\ufeff", "books"),
        ("foo\u200dbar", "foobar"),
        ("a\0b\x1b\x7f\x85c\t\n d\u2028\u00a0e", "a b c d e"),
        ("❤\ufe0f gifts", "❤ gifts"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\U0001f469"),
        ("\U0001f44d\U0001f3fd", "\U0001f44d\U0001f3fd"),
        (ZALGO, "z\u0337\u0322\u030d\u0310a\u0334\u0316\u013c\u0301go"),
        ("a\ud83d!\udc57\ud800b", "a\ufffd!\ufffdb"),
        ("\ufffe\U0010ffff\ue000", "\ufffe\U0010ffff\ue000"),
        ("more", "more"),
        ("Other", "other"),
    ],
)
def test_the_label_of_a_text(text, label):
    assert label_of(text) == label
    assert label_of(label) == label


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\t\r\n",
        "\0",
        "\u200b\ufeff\u200d",
        "\u3164",
        "\u202e\u3000\u200c\x80",
        "\ufe0f",
        " " * 1_001,
    ],
)
def test_a_text_of_which_nothing_is_left_says_nothing(text):
    assert label_of(text) == ABSENT


def test_a_long_label_is_its_beginning_and_a_hash_of_the_whole():
    assert label_of("X" * 96) == "x" * 96
    digits = hashlib.sha256(b"x" * 97).hexdigest()[:16]
    assert label_of("X" * 97) == label_of("x" * 97 + " ") == "x" * 79 + "_" + digits
    stem = "আসবাবপত্র ও গৃহসজ্জা > "
    one, other = label_of(stem * 4 + "ক"), label_of(stem * 4 + "খ")
    assert one != other
    assert one[:-17] == other[:-17] == (stem * 4)[: len(one) - 17]
    spaced = label_of("x" * 77 + "  কখ" * 9)  # cut within a letter that follows a space
    assert spaced.startswith("x" * 77 + "_")
    assert label_of(spaced) == spaced


def test_a_text_of_thousands_of_marks_is_read_no_further_than_its_beginning():
    # To put 64,000 marks in order takes seconds, and nothing else runs meanwhile.
    marks = "a" + "\u0315\u0334" * 100_000
    digits = hashlib.sha256(marks.encode()).hexdigest()[:16]
    assert label_of(marks) == "a" + "\u0334" * 39 + "_" + digits
    assert label_of(marks) != label_of(marks + "b")
    assert label_of("A" * 1_000) == label_of("a" * 1_000)
    assert label_of("A" * 1_001) != label_of("a" * 1_001)
    assert label_of("a" * 1_001 + "\ud800") != label_of("a" * 1_001 + "\ufffd")


def test_no_text_is_the_label_of_more():
    assert all(MORE not in label_of(text) for text in (MORE, "\u2400", "more", "a" + MORE + "b"))


def test_a_character_of_a_later_version_stays_and_parts_what_is_around_it():
    assert UNICODE == "14.0"
    # Of 15.0 and 16.0: the second and its mark become one character, the third has a small letter.
    for new in "\U0001e4d0", "\U000105d2", "\ua7cb", "\u0378":
        assert label_of(f"A{new}\u0307 E{new}e\u0301") == f"a{new}\u0307 e{new}é"


# Characters whose order, neighbourhood or form decides.
TRICKY = (
    " _-'=<\t\0\u200c\u200d\u0301\u0307\u0315\u0334\u0338\u093c\u09be\u09c7\ufe0f\u00ad\u034f"
    "\u0130\u0131\u00df\ufb00\u2019\uff07\u2167\u2460\u3200\ufdfa\u0345\u1e9e\u0390\u00a8\u2260"
    "\u1100\u1161\u11a8\u1160\u3164\ud800\udc00\ufffd\u0378\u3000aAকष"
)
texts = st.text(st.one_of(st.characters(), st.sampled_from(TRICKY)), max_size=60)


@examples(1_000)
@given(texts)
def test_a_label_is_its_own_label_in_any_form_and_can_be_stored(text):
    label = label_of(text)
    assert label_of(label) == label
    for form in ("NFC", "NFD"):
        assert label_of(unicodedata.normalize(form, text)) == label
    assert len(label.encode()) <= LABEL_BYTES_MAX
    assert label == label.strip()
    assert not any(unicodedata.category(each) in ("Cc", "Cs") for each in label)


@examples(1_000)
@given(texts)
def test_the_slug_of_a_label_is_that_of_its_text(text):
    if len(normal(text).encode()) <= LABEL_BYTES_MAX:
        assert slug(label_of(text)) == slug(text)


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="another version's tables")
@examples(1_000)
@given(texts)
def test_the_reference_labels_it_alike(text):
    assert label_of(text) == to_label(text)


ALIKE = "CJK U", "HANGU", "TANGU", "CUNEI", "EGYPT", "ANATO", "BAMUM"
"""How the names of thousands of letters begin which are in no way different from each other."""


def blocks(codes):
    """Texts in which each character stands alone, between a letter and a mark, and before a joiner."""
    for first in range(0, len(codes), 0x100):
        some = map(chr, codes[first : first + 0x100])
        yield " ".join(f"{each} A{each}\u0301{each}\u200dষ" for each in some)


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="another version's tables")
def test_the_reference_forms_each_assigned_character_alike():
    named = [
        code for code in range(0x110000) if unicodedata.name(chr(code), "CJK U")[:5] not in ALIKE
    ]
    for text in blocks([*range(0xA0), *named]):
        assert normal(text) == to_normal(text)


@pytest.mark.parametrize(
    ("codes", "digest"),
    [
        pytest.param(
            range(0x20000),
            "0c4b85a845f638d538f86a21e928151d56f79316b04d262c862c5c735fa2872c",
            id="the planes of most scripts and symbols",
        ),
        # They are CJK or nearly empty: the two above have such letters, and gaps.
        pytest.param(
            range(0x20000, 0x110000),
            "1356a005080b4d298a6c7ff6fb9f94a14f2f6d4661a6e841cf9b13fed8d63603",
            id="the others",
            marks=pytest.mark.deep,
        ),
    ],
)
def test_every_python_makes_the_same_labels(codes, digest):
    # A Python whose newer tables make another label of a character, assigned or not, fails here.
    found = hashlib.sha256()
    for text in blocks(codes):
        found.update(f"{normal(text)}\n".encode())
    assert found.hexdigest() == digest


def test_the_examples_of_the_docstrings():
    assert doctest.testmod(label_text).failed == doctest.testmod(slugs).failed == 0
