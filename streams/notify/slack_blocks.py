"""A message as Slack's blocks, within Slack's limits.

Text from outside is in `plain_text` and `rich_text` only: there Slack reads no markup, no mention
and no link.
"""

from __future__ import annotations

from typing import Any

from streams.index.shown_text import one_line
from streams.notify.notice import Notice, NoticeKind, NoticeLink, Urgency

HEADER_MAX = 150
SECTION_MAX = 3_000
FACT_MAX = 1_000
ALT_MAX = 2_000
TEXT_MAX = 3_000
"""Of the text beside the blocks, which notifications show; Slack cuts it at 40,000."""

Block = dict[str, Any]


def plain(text: str, most: int) -> Block:
    """A text object in which nothing is read as markup."""
    return {"type": "plain_text", "text": one_line(text, most) or "-", "emoji": False}


def escape(text: str) -> str:
    """Text for where Slack reads its markup: it turns no mention and no link out of these.

    >>> escape("<!channel> & <@U1>")
    '&lt;!channel&gt; &amp; &lt;@U1&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks(notice: Notice, file_id: str | None) -> list[Block]:
    """Blocks of a message. ``file_id``: the picture's file at Slack, where there is one."""
    found: list[Block] = [
        {"type": "header", "text": plain(f"{_sign(notice)} {notice.headline()}", HEADER_MAX)},
        _rich([part for fact in notice.facts() for part in _fact(*fact)]),
    ]
    if file_id is not None:
        found.append(
            {
                "type": "image",
                "slack_file": {"id": file_id},
                "alt_text": one_line(f"{notice.title}. {notice.now}", ALT_MAX),
            }
        )
    if notice.links:
        # A space between two links belongs to neither.
        parts = [part for link in notice.links for part in (_link(link), _text("   "))]
        found.append(_rich(parts[:-1]))
    found.append({"type": "context", "elements": [plain(_small_print(notice), SECTION_MAX)]})
    return found


def _rich(parts: list[Block]) -> Block:
    """A block of text with styles and links, in which nothing is read as markup."""
    section = {"type": "rich_text_section", "elements": parts or [_text("-")]}
    return {"type": "rich_text", "elements": [section]}


def _text(text: str, *, bold: bool = False) -> Block:
    return {"type": "text", "text": text, **({"style": {"bold": True}} if bold else {})}


def _fact(question: str, answer: str) -> tuple[Block, Block]:
    return _text(f"{question}: ", bold=True), _text(f"{one_line(answer, FACT_MAX)}\n")


def _link(link: NoticeLink) -> Block:
    return {"type": "link", "url": link.url, "text": link.text}


def beside_blocks(notice: Notice) -> str:
    """The text that a notification shows, and a reader of screens says."""
    parts = [notice.headline(), *(f"{q}: {a}" for q, a in notice.facts() if q in ("Since", "Now"))]
    return escape(one_line(". ".join(parts), TEXT_MAX))


def news(notice: Notice) -> str:
    """The reply in the message's thread: only what is new since the message before."""
    if notice.kind is NoticeKind.ANSWERED:
        text = notice.news
    elif notice.over:
        text = f"Over: {notice.title}. {notice.since}"
    elif notice.quiet:
        text = f"{notice.headline()}. {notice.now}"
    else:
        text = notice.news or notice.headline()
    return escape(one_line(text, TEXT_MAX))


def _sign(notice: Notice) -> str:
    """A sign beside the title, for eyes that run over a channel."""
    if notice.over:
        return "\N{WHITE HEAVY CHECK MARK}"
    pages = notice.urgency is Urgency.PAGE and not notice.quiet
    return "\N{LARGE RED CIRCLE}" if pages else "\N{LARGE YELLOW CIRCLE}"


def _small_print(notice: Notice) -> str:
    firing = sum(alert.status == "firing" for alert in notice.alerts)
    if firing == len(notice.alerts):  # those that fire come first
        firing += notice.left_out
    # Of what is over, alerts fire on for minutes: that is no news.
    alerts = "" if notice.done else f", {firing} alert{'' if firing == 1 else 's'} firing"
    picture = f". No picture: {notice.no_picture}" if notice.no_picture else ""
    return f"{notice.incident}, as of {notice.sent_at}{alerts}{picture}"
