"""Slack by its Web API: one message for an incident, kept up to date, and its news in its thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from streams import clock
from streams.index.shown_text import one_line
from streams.notify.message_receiver import Kept, NotTakenError, retry_after_s
from streams.notify.notice import Notice, NoticeKind
from streams.notify.posting import ANSWER_S, SHOWN_MAX
from streams.notify.slack_blocks import beside_blocks, blocks, news
from streams.settings import NotifySettings

SCANNED_EVERY_S = 1.0
SCANS = 4
"""Slack scans a file before a message may show it: mostly within a second."""
_PASSING = {"ratelimited", "rate_limited", "fatal_error", "internal_error", "service_unavailable",
            "request_timeout"}  # fmt: skip
_GONE = {"message_not_found", "cant_update_message", "channel_not_found", "is_inactive"}
"""Refusals of an edit after which the message is posted anew: where the settings say by now."""
_NO_THREAD = {"thread_not_found", "message_not_found", "cannot_reply_to_message",
              "restricted_action_non_threadable_channel",
              "restricted_action_thread_locked"}  # fmt: skip
"""Refusals of a reply, after which the message is posted anew."""
_CLOSED = "edit_window_closed"
_FIXED = "fixed"
"""Noted of a message that can no longer be edited: it is not tried again."""
_ACTIONS = {
    "not_in_channel": "invite the bot to the channel: /invite @BOT",
    "channel_not_found": "set notify.slack_channel to the id of a channel that the bot was invited to",
    "is_archived": "set notify.slack_channel to the id of a channel that is in use",
    "missing_scope": "give the bot the scopes chat:write and files:write, and install it again",
}
_BOT_ACTION = "set notify.slack_token to the token (xoxb-..) of a bot that is installed"
_BLOCKS_ACTION = "report it: ecindex has made blocks that Slack does not take"

_log = structlog.get_logger(__name__)


class SlackReceiver:
    """Posts to one channel, as a bot."""

    name = "slack"

    def __init__(self, settings: NotifySettings, scanned_every_s: float = SCANNED_EVERY_S) -> None:
        self._channel = settings.slack_channel or ""
        self._scanned_every_s = scanned_every_s
        self._client = AsyncWebClient(
            settings.slack_credential(),
            base_url=settings.slack_api.rstrip("/") + "/",
            timeout=int(ANSWER_S),
            retry_handlers=[],  # the delivery tries again, and knows until when
        )

    async def send(self, notice: Notice, picture: bytes | None, kept: Mapping[str, str]) -> Kept:
        """Post the incident's message, or update it and reply in its thread. Raises NotTakenError."""
        try:
            file_id = await self._uploaded(picture) if picture is not None else kept.get("file")
            return await self._kept_up(notice, file_id, dict(kept))
        except SlackApiError as error:
            raise _not_taken(error) from error
        except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            words = one_line(str(error), SHOWN_MAX) or f"no answer within {ANSWER_S:.0f} s"
            raise NotTakenError(f"{type(error).__name__}: {words}") from error

    async def close(self) -> None:
        """Nothing stays open: each call has a session of its own."""

    async def _kept_up(self, notice: Notice, file_id: str | None, kept: Kept) -> Kept:
        kept = {**kept, **({} if file_id is None else {"file": file_id})}
        edited = "ts" in kept and _FIXED not in kept
        if edited:
            try:
                await self._with_picture(notice, file_id, ts=kept["ts"], channel=kept["channel"])
            except SlackApiError as error:
                edited = False
                self._note_refused(error, notice, kept)
        if "ts" in kept and notice.kind is not NoticeKind.REPEATED:
            await self._reply(notice, kept, edited=edited)
        if "ts" not in kept:
            answer = await self._with_picture(notice, file_id, channel=self._channel)
            return {**kept, "channel": answer["channel"], "ts": answer["ts"]}
        return kept

    async def _reply(self, notice: Notice, kept: Kept, *, edited: bool) -> None:
        """Say in the message's thread what is new; where there is none, forget the message."""
        try:
            await self._client.chat_postMessage(
                channel=kept["channel"],
                thread_ts=kept["ts"],
                text=news(notice),
                # Else the channel shows a message that goes on saying what was.
                reply_broadcast=notice.over and not edited,
                **_AS_IT_IS,
            )
        except SlackApiError as error:
            if _code(error) not in _NO_THREAD:
                raise
            _forget(kept)

    def _note_refused(self, error: SlackApiError, notice: Notice, kept: Kept) -> None:
        """Note that an edit was refused; what is new is told all the same, by a message of its own.

        Raises the refusal where it passes, and where there is nothing new to tell.
        """
        code = _code(error)
        if code in _GONE:
            _forget(kept)  # somebody has deleted it, or it is of another bot or channel
        elif code == _CLOSED:
            kept[_FIXED] = code
            action = "let messages be edited for longer in Slack's workspace settings"
            _log.warning("message_stands", receiver=self.name, action=action)
        elif _passes(error) or notice.kind is NoticeKind.REPEATED:
            raise error
        else:
            _log.warning("message_not_edited", receiver=self.name, detail=_detail(error))

    async def _with_picture(
        self, notice: Notice, file_id: str | None, *, channel: str, ts: str | None = None
    ) -> dict[str, str]:
        """Post or update a message. It goes without its picture rather than not at all."""
        for left in range(SCANS, -1, -1):
            shown = file_id if left else None
            try:
                return await self._posted(notice, shown, channel, ts)
            except SlackApiError as error:
                if _code(error) != "invalid_blocks" or shown is None:
                    raise
                await asyncio.sleep(self._scanned_every_s)
                if left == 1:
                    _log.warning("sent_without_picture", receiver=self.name, detail=_detail(error))
        raise AssertionError("the last turn has no picture: it returns or raises")

    async def _posted(
        self, notice: Notice, file_id: str | None, channel: str, ts: str | None
    ) -> dict[str, str]:
        content: dict[str, Any] = {
            "channel": channel,
            "text": beside_blocks(notice),
            "blocks": blocks(notice, file_id),
        }
        if ts is None:
            answer = await self._client.chat_postMessage(**content, **_AS_IT_IS)
        else:
            answer = await self._client.chat_update(
                ts=ts, **content, parse="none", link_names=False
            )
        return {"channel": str(answer["channel"]), "ts": str(answer["ts"])}

    async def _uploaded(self, picture: bytes) -> str | None:
        """Upload a picture; return its id, or None where Slack did not take it."""
        try:
            answer = await self._client.files_upload_v2(
                filename="chart.png", file=picture, title="Orders and what is expected"
            )
        except SlackClientError as error:
            if isinstance(error, SlackApiError) and _code(error) in _PASSING:
                raise
            _log.warning("picture_not_taken", receiver=self.name, detail=_detail(error))
            return None
        return str(answer["file"]["id"])


_AS_IT_IS: dict[str, Any] = {
    "parse": "none",
    "link_names": False,
    "unfurl_links": False,
    "unfurl_media": False,
}
"""Slack makes no mention, link or preview out of a text by itself."""


def _forget(kept: Kept) -> None:
    """Forget a message, so that it is posted anew."""
    for name in ("ts", _FIXED):
        kept.pop(name, None)


def _code(error: SlackApiError) -> str:
    data = error.response.data if hasattr(error.response, "data") else error.response
    return str(data.get("error", "")) if isinstance(data, dict) else ""


def _status(error: SlackApiError) -> int:
    return int(getattr(error.response, "status_code", 0))


def _passes(error: SlackApiError) -> bool:
    """Whether the same call may be taken when it is made again."""
    status = _status(error)
    return _code(error) in _PASSING or status == 429 or status >= 500  # noqa: PLR2004 - as HTTP has them


def _detail(error: BaseException) -> str:
    return one_line(str(error), SHOWN_MAX)


def _not_taken(error: SlackApiError) -> NotTakenError:
    code = _code(error)
    status = _status(error)
    headers = getattr(error.response, "headers", {})
    data = getattr(error.response, "data", {})
    details = (
        [one_line(str(each), SHOWN_MAX) for each in data.get("errors", ())]
        if isinstance(data, dict)
        else []
    )
    reason = f"Slack answered {code or status}" + (f" ({'; '.join(details)})" if details else "")
    asked = next((v for k, v in headers.items() if k.lower() == "retry-after"), None)
    if _passes(error):
        return NotTakenError(reason, retry_after_s=retry_after_s(asked, clock.now_ms()))
    broken = code in (
        "invalid_blocks",
        "msg_too_long",
        "msg_blocks_too_long",
        "no_text",
        "invalid_arguments",
    )
    action = _BLOCKS_ACTION if broken else _ACTIONS.get(code, _BOT_ACTION)
    return NotTakenError(reason, action, again=False)
