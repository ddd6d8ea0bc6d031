"""A message as Slack's blocks, within Slack's limits.

Text from outside is only ever in text objects of the kind `plain_text`, in which Slack reads no markup,
no mention and no link. In `mrkdwn` are our own words and addresses from the settings.
"""

from __future__ import annotations

from typing import Any

from streams.notify.notice import Notice, NoticeLink, Urgency
from streams.notify.shown_text import one_line

HEADER_MAX = 150
SECTION_MAX = 3_000
FIELD_MAX = 2_000
FIELDS_MAX = 10
BLOCKS_MAX = 50
ALT_MAX = 2_000
TEXT_MAX = 3_000
"""Of the text beside the blocks, which notifications show; Slack cuts it at 40,000."""
ALERTS_SHOWN = 10

Block = dict[str, Any]


def plain(text: str, most: int) -> Block:
    """A text object in which nothing is read as markup."""
    return {"type": "plain_text", "text": one_line(text, most) or "-", "emoji": False}


def escape(text: str) -> str:
    """Text for where Slack reads `mrkdwn`: it turns no mention and no link out of these.

    >>> escape("<!channel> & <@U1>")
    '&lt;!channel&gt; &amp; &lt;@U1&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks(notice: Notice, file_id: str | None) -> list[Block]:
    """Blocks of a message. ``file_id``: the picture's file at Slack, where there is one."""
    found: list[Block] = [
        {"type": "header", "text": plain(f"{_sign(notice)} {notice.headline()}", HEADER_MAX)}
    ]
    fields = [plain(f"{question}: {answer}", FIELD_MAX) for question, answer in notice.facts()]
    # Each in its own section: beside each other they are two narrow columns, hard to read on a phone.
    found += [{"type": "section", "text": field} for field in fields[:FIELDS_MAX]]
    if file_id is not None:
        found.append(
            {
                "type": "image",
                "slack_file": {"id": file_id},
                "alt_text": one_line(f"{notice.title}. {notice.now}", ALT_MAX),
            }
        )
    if notice.links:
        words = "  |  ".join(map(_link, notice.links))
        found.append({"type": "section", "text": {"type": "mrkdwn", "text": words[:SECTION_MAX]}})
    found.append({"type": "context", "elements": [plain(_small_print(notice), FIELD_MAX)]})
    return found[:BLOCKS_MAX]


def beside_blocks(notice: Notice) -> str:
    """The text that a notification shows, and a reader of screens says."""
    parts = [notice.headline(), *(f"{q}: {a}" for q, a in notice.facts() if q in ("Since", "Now"))]
    return escape(one_line(". ".join(parts), TEXT_MAX))


def news(notice: Notice) -> str:
    """The reply in the message's thread: what is new, in one sentence."""
    if notice.over:
        return escape(one_line(f"Over: {notice.title}. {notice.since}", TEXT_MAX))
    firing = [alert for alert in notice.alerts if alert.status == "firing"][:ALERTS_SHOWN]
    named = "; ".join(alert.summary or alert.name for alert in firing)
    return escape(one_line(f"Changed. These alerts fire now: {named}", TEXT_MAX))


def _sign(notice: Notice) -> str:
    """A sign beside the title, for eyes that run over a channel."""
    if notice.over:
        return "\N{WHITE HEAVY CHECK MARK}"
    return "\N{LARGE RED CIRCLE}" if notice.urgency is Urgency.PAGE else "\N{LARGE YELLOW CIRCLE}"


def _link(link: NoticeLink) -> str:
    """A link whose address is percent-encoded, so that no character of Slack's own is in it."""
    return f"<{escape(link.url)}|{escape(link.text)}>"


def _small_print(notice: Notice) -> str:
    firing = sum(alert.status == "firing" for alert in notice.alerts) + notice.left_out
    alerts = f"{firing} alert{'' if firing == 1 else 's'} firing"
    picture = f". No picture: {notice.no_picture}" if notice.no_picture else ""
    return f"{notice.incident}, as of {notice.sent_at}, {alerts}{picture}"
