"""Answers: what operators said of an incident, and what follows from it.

Each answer is kept as it was given, and an undo is an answer too. What is in force is a fold over all of
them in the order of their topic. Detectors never see an answer: they go on as if nobody had said
anything. Answers change only what is shown, what pages and what is learnt. So an answer that was taken
back leaves no trace in the arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.index.learning import WHOLE, Factor, Scope
from streams.index.panes import DAY_MS

ACKNOWLEDGED, EXPECTED, FALSE_ALARM, NOTE = "acknowledged", "expected", "false_alarm", "note"
KINDS = (ACKNOWLEDGED, EXPECTED, FALSE_ALARM, NOTE)
EXPECTED_MAX_MS = 14 * DAY_MS
"""An event is expected for at most this long: what lasts longer is a new level."""
NOTES_MAX = 20
"""Notes of one incident that are kept; the oldest are forgotten first."""


class Answer(NamedTuple):
    """One answer to an incident. Instants are in ms.

    ``taken_back``: the answer of this kind that was in force no longer is. Of ``expected`` only:
    ``start_ms`` and ``until_ms`` bound the event, ``scope`` is the series that ``factor`` applies to, in
    units of 1 / SCALE; None: of unknown size.
    """

    incident: str
    kind: str
    by: str
    at_ms: int
    taken_back: bool = False
    text: str = ""
    start_ms: int = 0
    until_ms: int = 0
    scope: Scope = WHOLE
    factor: int | None = None

    def as_factor(self) -> Factor:
        """The factor of an expected event."""
        return Factor(self.scope, self.start_ms, self.until_ms, self.factor)


class AnsweredIncident:
    """What is in force of the answers to one incident."""

    def __init__(self) -> None:
        self.in_force: dict[str, Answer] = {}
        """By kind, the latest last: acknowledged, expected, false_alarm."""
        self.notes: list[Answer] = []
        self.acknowledged_again: Answer | None = None
        """The acknowledgement in force as its author gave it last; None: he gave it once."""
        self.latest: Answer | None = None
        """The last answer of all, an undo included."""

    def apply_answer(self, answer: Answer) -> None:
        """Apply the next answer."""
        self.latest = answer
        if answer.kind == NOTE:
            # A topic may be read twice: the same note is one note.
            others = [note for note in self.notes if note != answer]
            self.notes = [] if answer.taken_back else [*others, answer][-NOTES_MAX:]
            return
        before = self.in_force.get(answer.kind)
        again = before is not None and before == answer._replace(at_ms=before.at_ms)
        if again and answer.kind == ACKNOWLEDGED:
            # PagerDuty delivers twice what was taken and not confirmed: to readers it is the first one.
            self.acknowledged_again = answer
            return
        if answer.kind == ACKNOWLEDGED:
            self.acknowledged_again = None
        self.in_force.pop(answer.kind, None)
        if not answer.taken_back:
            self.in_force[answer.kind] = answer

    @property
    def verdict(self) -> Answer | None:
        """The later one of ``expected`` and ``false_alarm`` that are in force; None: neither is."""
        return next(iter(self._verdicts()), None)

    @property
    def earlier_verdict(self) -> Answer | None:
        """The verdict that holds again if the later one is taken back; None: there is none."""
        return next(iter(self._verdicts()[1:]), None)

    def _verdicts(self) -> list[Answer]:
        """Return the verdicts that nobody took back, the later one first."""
        return [each for each in reversed(self.in_force.values()) if each.kind != ACKNOWLEDGED]

    @property
    def acknowledged(self) -> Answer | None:
        """Who has taken the incident on; None: nobody has."""
        return self.in_force.get(ACKNOWLEDGED)

    def acknowledged_since(self, worsened_ms: int) -> Answer | None:
        """Who has taken on what the incident has been since an instant; None: nobody has."""
        given = (self.acknowledged, self.acknowledged_again)
        return next((each for each in given if each and each.at_ms >= worsened_ms), None)


def teaches(verdict: Answer, scope: Scope) -> bool:
    """Whether hours of a shift of ``scope`` teach, in the incident that the verdict is about.

    The hours of a false alarm are hours as any. Those of an expected event teach, after division by its
    factor, where that was measured: a member that shifted by another factor than the whole market would
    teach a wrong level.
    """
    if verdict.kind == FALSE_ALARM:
        return True
    return verdict.factor is not None and verdict.factor > 0 and verdict.scope == scope
