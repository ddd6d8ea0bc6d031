"""What tells one message of an incident from another: its state, its id, and what it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from streams.notify.alert_group import AlertGroup, WebhookAlert
from streams.notify.composing import UNKNOWN_QUIET
from streams.notify.notice import Urgency
from streams.notify.sent_store import OpenIncident, SentMessage

OVER, QUIET, UNKNOWN = "over", "quiet", "unknown"
ENDED = (OVER, QUIET, UNKNOWN)
"""States in which nothing fires."""


def message_id(incident: OpenIncident, name: str, content: str) -> str:
    """Id of the next message to a receiver: that of the last try, if that said the same.

    ``content`` tells apart what is said; the number, the second time that it is said.
    """
    sent = incident.sent.get(name)
    number = 0 if sent is None else sent.number
    digest = hashlib.sha256(f"{incident.name}|{name}|{number}|{content}".encode())
    return digest.hexdigest()[:32]


def subject_of(market: str, group_key: str) -> str:
    """A name of a group of alerts that is short, stable, and readable where it can be."""
    digest = hashlib.sha256(group_key.encode()).hexdigest()[:12]
    readable = market if market.isascii() and market.isalnum() and len(market) <= 20 else "group"  # noqa: PLR2004
    return f"ecindex-{readable if market else 'service'}-{digest}"


def whole_group(group: AlertGroup, incident: OpenIncident) -> AlertGroup:
    """A notification with what fires of its incident in other groups: it is over when none fires."""
    here = {alert.identity for alert in group.alerts}
    others = [alert for key, alert in incident.still_firing().items() if key not in here]
    return msgspec.structs.replace(group, alerts=[*group.alerts, *others])


def state_of(group: AlertGroup, quiet: str) -> str:
    """What a message of this notification says: which alerts fire, or that none does."""
    if quiet:
        return UNKNOWN if quiet == UNKNOWN_QUIET else QUIET
    firing = [alert.identity for alert in group.alerts if alert.firing]
    return firing_state(firing) if firing else OVER


def firing_state(firing: Iterable[str]) -> str:
    """State in which the alerts of these identities fire."""
    return hashlib.sha256("\n".join(sorted(firing)).encode()).hexdigest()[:32]


def paging_names(firing: Mapping[str, WebhookAlert]) -> list[str]:
    """Names of the alerts that page: what has happened, of however many series."""
    return sorted(
        {each.name for each in firing.values() if each.labels.get("severity") == Urgency.PAGE}
    )


def matters(before: SentMessage, firing: Mapping[str, WebhookAlert]) -> bool:
    """Whether a person must know at once what fires since a message: something else pages by now."""
    if before.state in ENDED or before.paging is None:
        return True
    return not set(before.paging).issuperset(paging_names(firing))


def worth_telling(
    before: SentMessage, firing: Mapping[str, WebhookAlert], lead: str, series: str
) -> bool:
    """Whether there is more to tell since a message than that some of its alerts have ended.

    ``lead``, ``series``: name and ``dimension:member`` of the series that leads the incident; empty
    where none is known. Another one that leads is news only where its own alert fires and none has
    ended: what leads when an outage ends is a member of which it is not known yet that it is back.
    """
    if not firing.keys() <= set(before.firing) or before.paging not in (None, paging_names(firing)):
        return True
    if not lead or not before.lead or lead == before.lead:
        return False
    return firing.keys() == set(before.firing) and any(
        f"{each.labels.get('dimension')}:{each.labels.get('member')}" == series
        for each in firing.values()
    )
