"""What Alertmanager posts to a webhook: its payload of version 4, decoded and checked."""

from __future__ import annotations

import msgspec

from streams.index.formats import json_reader
from streams.index.instants import parse_instant

VERSION = "4"
"""Of the payload. Alertmanager has sent no other since 2016."""
BODY_BYTES_MAX = 4 * 1024 * 1024
"""A group of 29 members with their annotations takes 60 KB."""
ALERTS_MAX = 1_000


class AlertGroupError(ValueError):
    """A body is no notification of Alertmanager. Whoever configured its sender must act."""


class WebhookAlert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert of a group. Times are RFC 3339; ``ends_at`` is of the year 1 while it fires."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str = ""
    ends_at: str = ""
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """Name of the alert's rule."""
        return self.labels.get("alertname", "")

    @property
    def firing(self) -> bool:
        """False once it is resolved."""
        return self.status == "firing"

    @property
    def identity(self) -> str:
        """What tells the alert from others of its group."""
        return self.fingerprint or repr(sorted(self.labels.items()))

    def started_ms(self) -> int | None:
        """When it began to fire; None where that cannot be read."""
        return parse_instant(self.starts_at)

    def ended_ms(self) -> int | None:
        """When it was resolved; None while it fires."""
        return None if self.firing else parse_instant(self.ends_at)

    def annotation(self, name: str) -> str:
        """An annotation without the spaces around it; '' where there is none."""
        return self.annotations.get(name, "").strip()


class AlertGroup(msgspec.Struct, frozen=True, rename="camel"):
    """A notification: every alert of a group that fires, or that ended since the last one."""

    version: str
    group_key: str
    status: str
    alerts: list[WebhookAlert]
    receiver: str = ""
    truncated_alerts: int = 0


_decode = json_reader(AlertGroup)


def decode_group(body: bytes) -> AlertGroup:
    """Decode a request's body. Raises AlertGroupError, which says what was expected and found."""
    try:
        group = _decode(body)
    except msgspec.DecodeError as error:
        raise AlertGroupError(
            f"expected a notification of Alertmanager as JSON: {error}"
        ) from error
    if group.version != VERSION:
        raise AlertGroupError(
            f"expected Alertmanager's payload of version {VERSION}, found {group.version[:20]!r}"
        )
    if not group.group_key or not 0 < len(group.alerts) <= ALERTS_MAX:
        raise AlertGroupError(
            f"expected a group key and 1 to {ALERTS_MAX} alerts, found {len(group.alerts)}"
        )
    return group
