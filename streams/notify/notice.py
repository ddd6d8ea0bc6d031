"""A message, whoever gets it: what, since when, how large, how sure, who, is it still so, where to look.

Receivers only choose how it looks. As JSON it is what the plain webhook sends (docs/contract.md).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

VERSION = 1


class NoticeKind(StrEnum):
    """What a message says of its incident, to one receiver."""

    BEGAN = "began"
    CHANGED = "changed"
    """Other alerts of the incident fire than those of the message before."""
    REPEATED = "repeated"
    """Nothing changed: Alertmanager reminds after its ``repeat_interval``."""
    ANSWERED = "answered"
    """An operator has said something of it, or taken it back. It may come after the end."""
    OVER = "over"


class Urgency(StrEnum):
    """How soon somebody must act: the label ``severity`` of an alert."""

    PAGE = "page"
    TICKET = "ticket"


class NoticeLink(msgspec.Struct, frozen=True):
    """Where to look: an absolute address, and the words that lead there."""

    name: str
    text: str
    url: str


class NoticeAlert(msgspec.Struct, frozen=True):
    """One alert behind a message."""

    name: str
    status: str
    summary: str
    dimension: str = ""
    member: str = ""


class Notice(msgspec.Struct, frozen=True):
    """Everything that a message may say. Text is of one line each and safe to show, but not escaped.

    ``incident`` names what it is about, for as long as that lasts. ``began`` and ``ended`` are RFC 3339
    or None. ``size``, ``sureness``, ``affected``, ``now``, ``answered`` and ``news`` are sentences, ''
    where nothing is known. ``quiet``: why nothing of it pages although it is not known to be over; ''
    while something does, and once it is over. ``no_picture``: why there is no picture; '' where there
    is one. ``sent_at``: when it was made.
    """

    incident: str
    kind: NoticeKind
    urgency: Urgency
    title: str
    since: str
    sent_at: str
    market: str = ""
    began: str | None = None
    ended: str | None = None
    size: str = ""
    sureness: str = ""
    affected: str = ""
    now: str = ""
    answered: str = ""
    news: str = ""
    """What is new since the message before: answers given or taken back, or alerts."""
    quiet: str = ""
    silenced: bool = False
    """True while an answer keeps it from paging. Its alerts may fire on for minutes."""
    acknowledged_by: str = ""
    """Author of the acknowledgement in force."""
    acknowledged_before: str = ""
    """Author of one that holds no more, since the incident has become worse in kind."""
    acknowledged_before_at: str | None = None
    """When that was given, RFC 3339."""
    worsened: str | None = None
    """When it last became worse in kind, RFC 3339."""
    advice: str = ""
    message: str = ""
    """Id of the message, the same whenever it is sent again. '' until it has a receiver."""
    links: tuple[NoticeLink, ...] = ()
    alerts: tuple[NoticeAlert, ...] = ()
    left_out: int = 0
    """Alerts that are not among ``alerts``."""
    no_picture: str = ""
    v: int = VERSION

    @property
    def over(self) -> bool:
        """True of the end, and of what is said after it."""
        ended = self.kind is NoticeKind.ANSWERED and self.ended is not None
        return ended or self.kind is NoticeKind.OVER

    @property
    def done(self) -> bool:
        """True of the end, and of a message of an incident that is over while its alerts fire on."""
        return self.over or self.ended is not None

    def as_sent(self, message: str) -> Notice:
        """The message under its id. What is over asks nobody to act."""
        advice = "" if self.done else self.advice
        return msgspec.structs.replace(self, message=message, advice=advice)

    def facts(self) -> list[tuple[str, str]]:
        """(question, answer) in the order in which a reader asks; only those with an answer."""
        asked = (
            ("Since", self.since),
            ("How large", self.size),
            ("How sure", self.sureness),
            ("Affected", self.affected),
            ("Now", self.now),
            ("Answered", self.answered),
            ("What to do", self.advice),
        )
        return [(question, answer) for question, answer in asked if answer]

    def headline(self) -> str:
        """The title with what a reader must know first: that it is over, or that it can wait."""
        if self.over:
            return f"Over: {self.title}"
        if self.quiet:
            return f"{self.quiet}: {self.title}"
        return self.title if self.urgency is Urgency.PAGE else f"Ticket: {self.title}"
