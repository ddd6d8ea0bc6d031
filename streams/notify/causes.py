"""Divides a notification by cause. Alertmanager groups by market, which may have two incidents."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from streams.notify.alert_group import AlertGroup, WebhookAlert
from streams.notify.composing import series_of
from streams.notify.market_now import Series
from streams.publish.incident_records import PublishedIncident


class Cause(NamedTuple):
    """The alerts of a notification that have one cause. ``name``: what they are about, for good.

    ``incident``: what is published of it; None where it is no incident of a market, or not known.
    """

    name: str
    group: AlertGroup
    incident: PublishedIncident | None


def causes_of(
    group: AlertGroup,
    incidents: list[PublishedIncident],
    fallback: str,
    held_by: Callable[[str], str | None],
) -> list[Cause]:
    """Divide a notification, in the order of its alerts.

    ``held_by`` names what an earlier message has counted an alert to: it stays there until it ends,
    whatever is published meanwhile. ``fallback`` is the name where neither says one.
    """
    found: dict[str, list[WebhookAlert]] = {}
    for alert in group.alerts:
        name = held_by(alert.identity) or _published(alert, incidents) or fallback
        found.setdefault(name, []).append(alert)
    by_id = {incident.id: incident for incident in incidents}
    return [
        Cause(name, msgspec.structs.replace(group, alerts=alerts), by_id.get(name))
        for name, alerts in found.items()
    ]


def _published(alert: WebhookAlert, incidents: list[PublishedIncident]) -> str | None:
    """Id of the incident that an alert is of: an open one of its series, else the latest."""
    series = series_of(alert)
    if series is None:
        return None
    wanted: set[Series] = {series}
    if "method" in alert.labels:
        wanted.add(("payment_failure", series[1]))
    for incident in incidents:
        if alert.firing and incident.over is not None:
            continue
        if any((shift.dimension, shift.member) in wanted for shift in incident.shifts):
            return incident.id
    return None
