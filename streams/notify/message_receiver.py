"""What every receiver of messages does, and how it says that one was not taken."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

from streams.notify.notice import Notice

RETRY_AFTER_MAX_S = 3_600.0
"""Alertmanager comes again before anyway; a receiver that asks for more is asked again then."""

Kept = dict[str, str]
"""What a receiver keeps of an incident's messages, to update them: ids of the vendor's."""


PICTURED = frozenset({"slack", "mail"})
"""Receivers that take a picture."""
ILLUSTRATED = PICTURED | {"webhook"}
"""Those that say why there is none; a webhook's owner may want to know as well."""

UPDATED = frozenset({"slack"})
"""Receivers whose message can be brought up to date without telling anybody."""

FOLLOWED_UP = frozenset({"mail", "webhook"})
"""Receivers that get details some minutes later, in one message. A pager is not there for them."""


class NotTakenError(RuntimeError):
    """A message was not taken.

    ``action`` says who must act and how; '' where it passes by itself. ``again``: whether the same
    message may be taken when it is sent again. ``retry_after_s``: how long the receiver asks to wait.
    """

    def __init__(
        self, reason: str, action: str = "", *, again: bool = True, retry_after_s: float = 0.0
    ) -> None:
        self.reason = reason
        self.action = action
        self.again = again
        self.retry_after_s = min(max(retry_after_s, 0.0), RETRY_AFTER_MAX_S)
        super().__init__(f"{reason}; {action}" if action else reason)


class MessageReceiver(Protocol):
    """Somebody who gets messages."""

    @property
    def name(self) -> str:
        """Name in addresses, metrics and messages: slack, pagerduty, mail or webhook."""
        ...

    async def send(self, notice: Notice, picture: bytes | None, kept: Mapping[str, str]) -> Kept:
        """Send one message, once; return what is to be kept of it. Raises NotTakenError.

        ``kept``: what the incident's message before returned; empty before its first.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


def retry_after_s(header: str | None, now_ms: int) -> float:
    """Read the header Retry-After: seconds, or a date. 0 where it says nothing.

    >>> retry_after_s("30", 0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 0), retry_after_s("x", 0)
    (30.0, 60.0, 0.0)
    """
    if header is None:
        return 0.0
    try:
        return min(float(int(header)), RETRY_AFTER_MAX_S)
    except OverflowError:
        return RETRY_AFTER_MAX_S
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(at.timestamp() - now_ms / 1000, 0.0)
