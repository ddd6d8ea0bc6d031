"""A webhook of anybody's own: each message as JSON, signed (docs/contract.md#a-message)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from streams import clock
from streams.notify.message_receiver import Kept
from streams.notify.notice import Notice
from streams.notify.posting import new_session, post
from streams.settings import NotifySettings

SIGNATURE_HEADER = "X-Ecindex-Signature"
ID_HEADER = "X-Ecindex-Message"
"""Its value is that of the first time whenever a message is sent again."""
_ACTION = "look at the log of the webhook's owner (notify.webhook_url)"


def signature(body: bytes, key: bytes, at_s: int) -> str:
    """Value of the header: the time, and HMAC-SHA256 of the time, a dot, and the body.

    >>> signature(b"{}", b"key", 1)[:11]
    't=1,v1=1ba6'
    """
    digest = hmac.new(key, b"%d.%b" % (at_s, body), hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


class WebhookReceiver:
    """Posts each message to one address."""

    name = "webhook"

    def __init__(self, settings: NotifySettings) -> None:
        self._url = settings.webhook_address() or ""
        self._key = settings.webhook_key() or b""
        self._session = new_session()

    async def send(self, notice: Notice, picture: bytes | None, kept: Mapping[str, str]) -> Kept:
        """Post a message. Raises NotTakenError. The picture stays here: JSON has no room for it."""
        del picture, kept
        body = msgspec.json.encode(notice)
        headers = {
            SIGNATURE_HEADER: signature(body, self._key, clock.now_ms() // 1_000),
            ID_HEADER: notice.message,
        }
        await post(self._session, self._url, body, headers, _ACTION)
        return {"message": notice.message}

    async def close(self) -> None:
        """Close connections."""
        await self._session.close()
