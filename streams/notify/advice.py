"""What to do about an incident, and where the runbook says more: both by the series that leads it.

The alerts say the same (config/prometheus/alerts.yml), each of its own series. But an alert fires for
minutes after its cause, and which series leads an incident changes while no alert does.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.index.indices import CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.shift_series import PAYMENT_FAILURE
from streams.publish.incident_records import PublishedIncident


class Advice(NamedTuple):
    """``alert``: the alert that says it, and its entry of the runbook. ``planned``: it may be."""

    alert: str
    text: str
    planned: bool = True

    def words(self, incident: str) -> str:
        """Return the sentences, with the commands that answer the incident."""
        if not self.planned:
            return self.text
        return (
            f"Planned: ecindex answer {incident} expected --until TIME. "
            f"Not planned: ecindex answer {incident} ack. {self.text}"
        )


OUTAGE = Advice(
    "EcindexMarketOutage",
    "Ask whether the shop takes orders (checkout, site, app). If it does, its events do "
    "not reach Kafka: look at the "
    "producer of orders.",
    planned=False,
)
ADVICE = {
    (MARKET, -1): Advice(
        "EcindexMarketShift",
        "Ask whether checkout and payments work, and whether every producer of orders sends.",
    ),
    (MARKET, 1): Advice(
        "EcindexMarketShift",
        "Look for a wrong price, bots, or a producer that sends everything twice.",
    ),
    (CATEGORY, -1): Advice(
        "EcindexDemandShift",
        "Ask who owns it whether it is out of stock or delisted; look whether its "
        "producer has renamed it, since it "
        "counts as other then.",
    ),
    (CATEGORY, 1): Advice(
        "EcindexDemandShift",
        "Ask who owns it about price and listing; look whether it is one seller or many.",
    ),
    (REGION, -1): Advice(
        "EcindexDemandShift",
        "Ask whether orders from there are taken and delivered; look whether its "
        "producer has renamed it.",
    ),
    (REGION, 1): Advice(
        "EcindexDemandShift",
        "Ask about a campaign there; look for bots, or a producer that sends everything twice.",
    ),
    (CHANNEL, -1): Advice(
        "EcindexDemandShift",
        "Ask who runs it whether customers can order there, and what was released last.",
    ),
    (CHANNEL, 1): Advice(
        "EcindexDemandShift",
        "Ask who runs it about a campaign, and whether another channel is out of order; "
        "look for bots.",
    ),
    (METHOD, -1): Advice(
        "EcindexPaymentMethodCollapsed",
        "Chosen less: ask who owns the checkout whether it still offers the method. "
        "Chosen as usual but captured less: "
        "ask its provider.",
        planned=False,
    ),
    (METHOD, 1): Advice(
        "EcindexDemandShift",
        "Ask who owns the checkout whether another method is out of order; look whether "
        "payments are sent twice, or "
        "many at once that belong to the orders of earlier days.",
    ),
    (PAYMENT_FAILURE, 1): Advice(
        "EcindexPaymentFailures",
        "One method: call its provider. All methods: call who runs the payment gateway.",
        planned=False,
    ),
    (PAYMENT_FAILURE, -1): Advice(
        "EcindexPaymentFailures",
        "Fewer payments fail than usual: look whether failed ones are still sent.",
        planned=False,
    ),
}
"""By dimension and direction of the leading series."""


def is_advice(text: str, incident: str) -> bool:
    """Whether a text is from here, and not from an installation's own alert."""
    return any(each.words(incident) == text for each in (OUTAGE, *ADVICE.values()))


def advice_on(incident: PublishedIncident) -> Advice:
    """Return what to do about the series that leads an incident."""
    if incident.dimension == MARKET and incident.kind == "outage":
        return OUTAGE
    series = incident.dimension, incident.member
    own = [each for each in incident.shifts if (each.dimension, each.member) == series]
    going = [each for each in own if each.over is None] or own
    way = going[-1].direction if going else incident.direction
    return ADVICE[incident.dimension if series[0] in _KNOWN else CATEGORY, 1 if way == "up" else -1]


_KNOWN = {dimension for dimension, _ in ADVICE}
