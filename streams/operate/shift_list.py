"""``shifts list``: incidents of each market with what was said of them, and pages against the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from streams.console.errors import OperationError, unknown_market
from streams.index.answer_records import TEXT_MAX
from streams.index.indices import MARKET
from streams.index.page_budget import PageCount
from streams.index.shown_sizes import size_words
from streams.index.shown_text import one_line
from streams.operate.market_views import connect
from streams.publish.hash_texts import hash_texts
from streams.publish.incident_records import PublishedAnswer, PublishedIncident, read_incidents
from streams.publish.keys import market_keys, sent_key
from streams.publish.page_records import PAGES_FIELD, budget_line, read_pages
from streams.publish.redis_clients import REDIS_ERRORS, in_words
from streams.publish.sent_records import PublishedSent, read_sent
from streams.settings import Settings, load_methodology


class ListedMarket(NamedTuple):
    """Incidents of a market, the open ones first, and its pages."""

    market: str
    pages: list[PageCount]
    incidents: list[PublishedIncident]
    sent: Mapping[str, PublishedSent] = {}
    """When people were told, by incident, as far as it is known."""


def list_shifts(settings: Settings, markets: Sequence[str] | None) -> list[ListedMarket]:
    """Return what Redis holds; ``markets`` None: of all markets. Raises OperationError."""
    known = load_methodology(settings).markets
    for code in markets or ():
        if code not in known:
            raise unknown_market(code, known)
    found, prefix = [], settings.redis.keys_prefix
    try:
        with connect(settings.redis) as client:
            for code in markets or sorted(known):
                keys = market_keys(code, prefix)
                incidents = read_incidents(hash_texts(client.hgetall(keys.incidents)))
                sent = read_sent(hash_texts(client.hgetall(sent_key(code, prefix))))
                pages = cast("bytes | None", client.hget(keys.values, PAGES_FIELD))
                found.append(ListedMarket(code, read_pages(pages), incidents, sent))
    except REDIS_ERRORS as error:
        raise OperationError(f"{settings.redis.url} (redis.url): {in_words(error)}") from error
    return found


def lines(listed: Sequence[ListedMarket]) -> list[str]:
    """Return the list as text, a market after the other."""
    found: list[str] = []
    for market in listed:
        if not (market.pages or market.incidents):
            found.append(f"{market.market}: not watched")
        found += [f"{market.market}: {budget_line(count)}" for count in market.pages]
        for incident in market.incidents:
            found += [f"  {line}" for line in _of_incident(incident, market.sent.get(incident.id))]
    return found


def _of_incident(incident: PublishedIncident, sent: PublishedSent | None) -> list[str]:
    size, over = incident.size, incident.over
    when = (
        f"{size.since[:16]}Z to now" if over is None else f"{incident.began[:16]}Z to {over[:16]}Z"
    )
    if incident.state == "withdrawn" and over is not None:
        when = f"at {over[:16]}Z by events that came late"
    ratio = size_words(size.ratio, size.lower, size.upper)
    what = f"{incident.state} {incident.kind} of {_series(incident)}"
    head = f"{incident.id}  {what}, {when}, {ratio}"
    given = [each for each in (incident.acknowledged, incident.verdict) if each is not None]
    found = [head]
    if sent is not None:
        to = one_line(", ".join(sent.receivers), TEXT_MAX)
        found.append(f"  sent {one_line(sent.first[:16], TEXT_MAX)}Z ({to})")
    found += [f"  {_of_answer(each)}" for each in (*given, *incident.notes)]
    if (before := incident.acknowledged_before) is not None:
        worse = (incident.worsened or before.at)[:16]
        found.append(f"  {_of_answer(before)}, before it became worse at {worse}Z")
    if incident.beyond_verdict:
        pages = "; it pages" if over is None and incident.silenced_by is None else ""
        found.append(f"  open: more was found after the false alarm was said{pages}")
    by = incident.silenced_by
    if by is not None and by != incident.id:
        found.append(f"  does not page: {by} is expected")
    return found


def _series(of: PublishedIncident | PublishedAnswer) -> str:
    """Name the leading series of an incident, or that of an answer's factor."""
    name = "all" if of.dimension in (None, MARKET) else f"{of.dimension}:{of.member}"
    return one_line(name, TEXT_MAX)


def _of_answer(answer: PublishedAnswer) -> str:
    about = ""
    if answer.until is not None:
        factor = (
            "unknown size"
            if answer.factor is None
            else f"factor {answer.factor:g} of {_series(answer)}"
        )
        about = f" until {answer.until[:16]}Z, {factor}"
    text = f": {one_line(answer.text, TEXT_MAX)}" if answer.text else ""
    kind = answer.kind.replace("_", " ")
    return f"{kind}{about} ({one_line(answer.by, TEXT_MAX)}, {answer.at[:16]}Z){text}"
