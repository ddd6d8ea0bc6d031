"""Records of ``ecindex.answers``: what operators said of incidents, one record for each answer.

The key is ``market|INCIDENT|KIND|INSTANT``: what is answered, how and when. No answer replaces another,
so compaction keeps who said what and when. The state is the fold of all (``operator_answers``).
"""

from __future__ import annotations

import re
import unicodedata

import msgspec

from streams.index.demand import SCALE
from streams.index.formats import json_decoder
from streams.index.identifiers import MEMBER_BYTES_MAX
from streams.index.instants import parse_instant
from streams.index.learning import WHOLE
from streams.index.methodology import FACTOR_MAX, FACTOR_MIN
from streams.index.operator_answers import EXPECTED, EXPECTED_MAX_MS, KINDS, Answer
from streams.index.panes import rfc3339
from streams.index.stamps import STAMPS_MS
from streams.index.values import VERSION

TEXT_MAX = 1_000
"""Longest note, in characters."""
AUTHOR_MAX = 64
_SHOWN_MAX = 100
"""Characters of a refused text that a message shows: it is logged, and may be as long as a record."""
INCIDENT_ID = re.compile(r"([A-Za-z0-9._-]{1,64})-\d{8}T\d{4}-(up|down)")
"""Id of an incident (docs/contract.md#an-incident); its first group is the market."""


class AnswerRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer as it is stored. Instants are RFC 3339; ``factor`` None: of unknown size."""

    market: str
    incident: str
    kind: str
    by: str
    at: str
    taken_back: bool = False
    text: str = ""
    start: str = ""
    until: str = ""
    dimension: str = WHOLE[0]
    member: str = WHOLE[1]
    factor: float | None = None
    v: int = 0


class AnswerError(ValueError):
    """An answer breaks the contract. The text says what was expected and what was found."""


_decode = json_decoder(AnswerRecord, "an answer", VERSION)
_encode = msgspec.json.Encoder().encode


def market_of(incident: str) -> str:
    """Market of an incident, from its id. Raises AnswerError.

    >>> market_of("PK-20261130T0012-up")
    'PK'
    """
    found = INCIDENT_ID.fullmatch(incident)
    if found is None:
        raise AnswerError(
            f"incident {_shown(incident)}: expected MARKET-YYYYMMDDTHHMM-up or -down, as the page "
            "shows it"
        )
    return found[1]


def answer_record(answer: Answer) -> tuple[bytes, bytes]:
    """(key, value) of an answer. Raises AnswerError for one that would be refused."""
    market, at = market_of(answer.incident), rfc3339(answer.at_ms)
    is_expected = answer.kind == EXPECTED and not answer.taken_back
    record = AnswerRecord(
        market,
        answer.incident,
        answer.kind,
        answer.by,
        at,
        answer.taken_back,
        answer.text,
        rfc3339(answer.start_ms) if is_expected else "",
        rfc3339(answer.until_ms) if is_expected else "",
        *answer.scope,
        None if answer.factor is None else answer.factor / SCALE,
        VERSION,
    )
    value = _encode(record)
    key = f"{market}|{answer.incident}|{answer.kind}|{at}".encode()
    decode_answer(key, value)
    return key, value


def decode_answer(key: bytes, value: bytes, stamp_ms: int | None = None) -> tuple[str, Answer]:
    """(market, answer) of a record. Raises AnswerError when it breaks the contract.

    ``stamp_ms``: the record's timestamp, which is when the answer was given: the clock of whoever gave
    it may be off. None: it is not stored yet, or not by the broker's clock.
    """
    try:
        record = _decode(value)
    except msgspec.DecodeError as error:
        raise AnswerError(f"key {_shown(key)}: {error}") from error
    market = market_of(record.incident)
    if market != record.market or key.split(b"|")[0] != market.encode():
        raise AnswerError(
            f"key {_shown(key)}: market {_shown(record.market)}; expected that of {record.incident}"
        )
    _check_words(record)
    at_ms = _instant("at", record.at)
    if stamp_ms is not None and stamp_ms in STAMPS_MS:
        # By a clock ten minutes slow, a false alarm was about nothing that had just been found.
        at_ms = stamp_ms
    start_ms = until_ms = 0
    if record.kind == EXPECTED and not record.taken_back:
        start_ms, until_ms = _instant("start", record.start), _instant("until", record.until)
        if not start_ms < until_ms <= at_ms + EXPECTED_MAX_MS:
            raise AnswerError(
                f"until {record.until}: expected an instant after {record.start}, at most 14 days "
                f"after the answer ({rfc3339(at_ms)})"
            )
    return market, Answer(
        record.incident,
        record.kind,
        record.by,
        at_ms,
        record.taken_back,
        record.text,
        start_ms,
        until_ms,
        (record.dimension, record.member),
        None if record.factor is None else _factor(record.factor),
    )


def is_author(text: str) -> bool:
    """Whether a text may name an author: short, printable, without separators of our keys and files."""
    return (
        0 < len(text) <= AUTHOR_MAX
        and not any(unicodedata.category(each)[0] == "C" for each in text)
        and not set(text) & set("|:\u2028\u2029")
        and text == text.strip()
    )


def _check_words(record: AnswerRecord) -> None:
    if record.kind not in KINDS:
        raise AnswerError(f"kind {_shown(record.kind)}: expected one of {', '.join(KINDS)}")
    if not is_author(record.by):
        raise AnswerError(
            f"by {_shown(record.by)}: expected a name of 1 to {AUTHOR_MAX} characters"
        )
    if len(record.text) > TEXT_MAX:
        raise AnswerError(f"text of {len(record.text)} characters: expected at most {TEXT_MAX}")
    for name, part in (("dimension", record.dimension), ("member", record.member)):
        if len(part.encode(errors="replace")) > MEMBER_BYTES_MAX:
            raise AnswerError(f"{name} {_shown(part)}: expected at most {MEMBER_BYTES_MAX} bytes")


def _instant(name: str, text: str) -> int:
    found = parse_instant(text)
    if found is None or found not in STAMPS_MS:  # what cannot be written again would end its reader
        raise AnswerError(f"{name} {_shown(text)}: expected an instant of 1970 to 2099, RFC 3339")
    return found


def _shown(text: str | bytes) -> str:
    return repr(text[:_SHOWN_MAX])


def _factor(factor: float) -> int:
    if factor and not FACTOR_MIN <= factor <= FACTOR_MAX:
        raise AnswerError(
            f"factor {factor}: expected 0, or a number from {FACTOR_MIN:g} to {FACTOR_MAX:g}"
        )
    return round(factor * SCALE)
