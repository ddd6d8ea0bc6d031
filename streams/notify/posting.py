"""One POST over HTTP to a receiver, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import aiohttp
from aiohttp import hdrs

from streams import clock
from streams.index.shown_text import one_line
from streams.notify.message_receiver import NotTakenError, retry_after_s

ANSWER_S = 10.0
ANSWER_BYTES_MAX = 64 * 1024
SHOWN_MAX = 300


def new_session() -> aiohttp.ClientSession:
    """A session for the addresses in the settings: it follows no redirect and keeps no cookie."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=ANSWER_S), cookie_jar=aiohttp.DummyCookieJar()
    )


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], action: str
) -> bytes:
    """Post JSON; return the body of an answer 2xx. Raises NotTakenError.

    ``action``: who must act when the receiver refuses what is sent.
    """
    sent = {hdrs.CONTENT_TYPE: "application/json", **headers}
    try:
        async with session.post(url, data=body, headers=sent, allow_redirects=False) as answer:
            text = await answer.content.read(ANSWER_BYTES_MAX)
            status, asked = answer.status, answer.headers.get(hdrs.RETRY_AFTER)
    except aiohttp.InvalidURL as error:  # its words are the address, which may be a credential
        raise NotTakenError("InvalidURL: nothing can be sent to its address", action) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        words = one_line(str(error), SHOWN_MAX) or f"no answer within {ANSWER_S:.0f} s"
        raise NotTakenError(f"{type(error).__name__}: {words}", action) from error
    if status // 100 == HTTPStatus.OK // 100:
        return text
    shown = one_line(text.decode(errors="replace"), SHOWN_MAX)
    busy = status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    again = busy or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    raise NotTakenError(
        f"it answered {status}: {shown}",
        "" if again else action,
        again=again,
        retry_after_s=retry_after_s(asked, clock.now_ms()),
    )
