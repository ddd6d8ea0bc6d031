"""Divides a notification by cause: an alert is of the incident that it names, or that has its series.

Our routes group by incident already; those of an installation may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from streams.index.answer_records import INCIDENT_ID
from streams.notify.alert_group import AlertGroup, WebhookAlert
from streams.notify.composing import series_of
from streams.notify.market_now import Series
from streams.publish.incident_records import PublishedIncident

ID_MAX = 100


def names_incident(name: str) -> bool:
    """Whether a name is that of an incident, which is the same for good."""
    return INCIDENT_ID.fullmatch(name) is not None


class Cause(NamedTuple):
    """The alerts of a notification that have one cause. ``name``: what they are about.

    ``incident``: what is published of it; None where it is no incident of a market, or not known.
    """

    name: str
    group: AlertGroup
    incident: PublishedIncident | None

    @property
    def named(self) -> bool:
        """Whether the name is that of an incident, which is the same for good."""
        return names_incident(self.name)

    @property
    def fires_after_its_end(self) -> bool:
        """Whether alerts that name the incident fire although the index says that it is over.

        One that names none, as that of failed payments, may go on of itself.
        """
        if self.incident is None or self.incident.over is None:
            return False
        firing = [alert for alert in self.group.alerts if alert.firing]
        return bool(firing) and all(_of_label(alert) == self.name for alert in firing)


def causes_of(
    group: AlertGroup,
    incidents: list[PublishedIncident],
    fallback: str,
    held_by: Callable[[str], str | None],
) -> list[Cause]:
    """Divide a notification, in the order of its alerts.

    ``held_by`` names what an earlier message has counted an alert to that names no incident: it stays
    there until it ends, whatever is published meanwhile. ``fallback`` is the name where none is known.
    """
    found: dict[str, list[WebhookAlert]] = {}
    for alert in group.alerts:
        name = (
            _of_label(alert) or held_by(alert.identity) or _published(alert, incidents) or fallback
        )
        found.setdefault(name, []).append(alert)
    by_id = {incident.id: incident for incident in incidents}
    return [
        Cause(name, msgspec.structs.replace(group, alerts=alerts), by_id.get(name))
        for name, alerts in found.items()
    ]


def _of_label(alert: WebhookAlert) -> str | None:
    label = alert.labels.get("incident", "")
    return label if INCIDENT_ID.fullmatch(label) and len(label) <= ID_MAX else None


def _published(alert: WebhookAlert, incidents: list[PublishedIncident]) -> str | None:
    """Id of the incident that an alert is of: an open one of its series, else the latest."""
    series = series_of(alert)
    if series is None:
        return None
    wanted: set[Series] = {series}
    if "method" in alert.labels:
        wanted.add(("payment_failure", series[1]))
    for incident in incidents:
        if incident.market != alert.labels["market"]:
            continue
        if alert.firing and incident.over is not None:
            continue
        if any((shift.dimension, shift.member) in wanted for shift in incident.shifts):
            return incident.id
    return None
