"""Reports the incidents of a demo: found, answered, over. It knows what any reader of Redis knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.demo.demo_plan import Plan
from streams.index.indices import CATEGORY, MARKET
from streams.index.instants import parse_instant
from streams.index.panes import MINUTE_MS, rfc3339
from streams.publish.incident_records import PublishedAnswer, PublishedIncident
from streams.publish.incident_words import MarketNaming, naming_of, say_incident, series_name

KNOWN_MAX = 200
"""Incidents that are remembered; the oldest are forgotten first. An index keeps 30 of a market."""
PLANTED_EARLIER_MS = 5 * MINUTE_MS
"""How much earlier than it was planted a shift may be dated."""


class Story:
    """Compares the incidents with those of the call before. It reads no clock and does no IO.

    An incident keeps its name when it is answered, and when Redis has lost everything: it is found once.
    """

    def __init__(self, plan: Plan, namings: Mapping[str, MarketNaming]) -> None:
        self._plan = plan
        self._namings = namings
        self._known: dict[str, PublishedIncident] = {}
        self._planted_found: set[int] = set()

    def news(self, found: Mapping[str, Sequence[PublishedIncident]], now_ms: int) -> list[str]:
        """Sentences on the incidents that were found, answered, or are over.

        ``found``: incidents of each market. One that is not among them is neither over nor forgotten.
        """
        lines: list[str] = []
        for incidents in found.values():
            for incident in sorted(incidents, key=lambda each: each.found):
                before = self._known.get(incident.id)
                lines += self._news_of(before, incident, now_ms)
                if before is not None or incident.over is None:
                    self._known[incident.id] = incident
        while len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        return lines

    def _news_of(
        self, before: PublishedIncident | None, incident: PublishedIncident, now_ms: int
    ) -> list[str]:
        if before is None:
            # What another's answer covers was found before, under that name.
            covered = incident.silenced_by not in (None, incident.id)
            found = not covered and incident.over is None
            verdict = None
            lines = [self._found(incident, now_ms)] if found else []
        else:
            verdict, lines = before.verdict, []
        if incident.over is None and incident.verdict != verdict:
            lines.append(f"ANSWER {_clock(now_ms)}: {self._name(incident)}: {_answer(incident)}")
        if before is not None and before.over is None and incident.over is not None:
            words = say_incident(incident, self._naming(incident))
            size = "" if incident.state == "withdrawn" else f" {words.size}{_along(incident)}"
            lines.append(f"OVER   {_clock(now_ms)}: {words.headline}. {words.now}{size}")
        return lines

    def _found(self, incident: PublishedIncident, now_ms: int) -> str:
        words = say_incident(incident, self._naming(incident))
        parts = [f"FOUND  {_clock(now_ms)}: {words.headline}. {words.size}"]
        parts.append(f" {words.affected}" if words.affected else _along(incident))
        parts.append(f" {words.evidence.capitalize()}")
        planted_ms = self._planted_ms(incident)
        if planted_ms is not None and planted_ms <= now_ms:
            self._planted_found.add(planted_ms)
            after_s = (now_ms - planted_ms) / 1000
            parts.append(f" (planted at {_clock(planted_ms)}, found after {after_s:.0f} s)")
        return "".join(parts)

    def _naming(self, incident: PublishedIncident) -> MarketNaming:
        """Names are those of the page. Times are in UTC: the lines are of markets in many zones."""
        naming = self._namings.get(incident.market) or naming_of(incident.market, None)
        return naming._replace(time_zone="UTC")

    def _name(self, incident: PublishedIncident) -> str:
        naming = self._naming(incident)
        return series_name(incident.dimension, incident.member, naming.name)

    def _planted_ms(self, incident: PublishedIncident) -> int | None:
        """When that of which an incident is the first was planted."""
        jump, outage = self._plan.shift, self._plan.outage
        planted_ms = None
        if (incident.market, incident.dimension) == (jump.market, CATEGORY):
            planted_ms = jump.start_ms if incident.member == jump.category else None
        elif outage is not None and (incident.market, incident.dimension) == (
            outage.market,
            MARKET,
        ):
            planted_ms = outage.start_ms
        began_ms = parse_instant(incident.began) or 0
        if planted_ms is None or planted_ms in self._planted_found:
            return None
        return planted_ms if began_ms >= planted_ms - PLANTED_EARLIER_MS else None


def _answer(incident: PublishedIncident) -> str:
    given = incident.verdict
    pages = "it pages" if incident.silenced_by is None else "it no longer pages"
    if given is None:
        return f"its answer was taken back: {pages}"
    return f"answered ({_kind(given)}, by {given.by}): {pages}"


def _kind(given: PublishedAnswer) -> str:
    return given.kind.replace("_", " ")


def _along(incident: PublishedIncident) -> str:
    others = len(incident.shifts) + incident.left_out - 1
    if not others:
        return ""
    return f" {others} other series {'has' if others == 1 else 'have'} shifted with it."


def _clock(instant_ms: int) -> str:
    return f"{rfc3339(instant_ms)[11:19]} UTC"
