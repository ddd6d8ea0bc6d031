"""Mail with the picture inside it: text for those who read text, and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

import aiosmtplib
import structlog
from aiosmtplib import SMTPResponse

from streams.index.instants import parse_instant
from streams.index.shown_text import one_line
from streams.notify.message_receiver import Kept, NotTakenError
from streams.notify.notice import Notice, NoticeKind
from streams.notify.posting import ANSWER_S, SHOWN_MAX
from streams.settings import NotifySettings

SUBJECT_MAX = 200
_PICTURE = "chart"
_PASSING = range(400, 500)
"""Answers of SMTP by which a server asks to try again."""
PART_TAKEN_MAX = 100
"""Mails of which is remembered that some addresses have them; the oldest is forgotten first."""
_ACTION = "check notify.mail_server, mail_tls, mail_username, mail_password, mail_from and mail_to"

_log = structlog.get_logger(__name__)


def mail(
    notice: Notice, picture: bytes | None, *, sender: str, to: tuple[str, ...], first: str | None
) -> EmailMessage:
    """A mail of a message. ``first``: id of the incident's first mail, to which this one belongs."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = one_line(notice.headline(), SUBJECT_MAX)
    sent_ms = parse_instant(notice.sent_at) or 0
    message["Date"] = format_datetime(datetime.fromtimestamp(sent_ms / 1000, UTC))
    message["Message-ID"] = f"<{notice.message}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # no answering machine answers it
    if first is not None and first != message["Message-ID"]:
        message["In-Reply-To"] = message["References"] = first
    message.set_content(_text(notice))
    message.add_alternative(_html(notice, shown=picture is not None), subtype="html")
    if picture is not None:
        html = message.get_body(("html",))
        assert isinstance(html, EmailMessage), "it was added above"
        html.add_related(picture, "image", "png", cid=f"<{_PICTURE}>", filename="chart.png")
    return message


def _text(notice: Notice) -> str:
    lines = [notice.headline(), ""]
    lines += [f"{question}: {answer}" for question, answer in notice.facts()]
    lines += ["", *(f"{link.text}: {link.url}" for link in notice.links), ""]
    lines += [f"- {alert.name} ({alert.status}): {alert.summary}" for alert in notice.alerts]
    if notice.left_out:
        lines.append(f"- and {notice.left_out} more")
    if notice.no_picture:
        lines += ["", f"No picture: {notice.no_picture}"]
    return "\n".join([*lines, "", f"{notice.incident}, as of {notice.sent_at}", ""])


def _html(notice: Notice, *, shown: bool) -> str:
    rows = "".join(
        f'<tr><th align="left" valign="top">{escape(question)}</th><td>{escape(answer)}</td></tr>'
        for question, answer in notice.facts()
    )
    links = " &middot; ".join(
        f'<a href="{escape(link.url)}">{escape(link.text)}</a>' for link in notice.links
    )
    alerts = "".join(
        f"<li>{escape(alert.name)} ({escape(alert.status)}): {escape(alert.summary)}</li>"
        for alert in notice.alerts
    )
    picture = (
        f'<p><img src="cid:{_PICTURE}" width="640" alt="{escape(notice.now or notice.title)}"></p>'
        if shown
        else f"<p>No picture: {escape(notice.no_picture)}</p>"
        if notice.no_picture
        else ""
    )
    more = f"<p>and {notice.left_out} more</p>" if notice.left_out else ""
    return (
        '<!doctype html><html><body style="font-family: sans-serif">'
        f"<h2>{escape(notice.headline())}</h2><p>{links}</p>"
        f'<table cellpadding="4">{rows}</table>{picture}<ul>{alerts}</ul>{more}'
        f"<p><small>{escape(notice.incident)}, as of {escape(notice.sent_at)}</small></p>"
        "</body></html>"
    )


class MailReceiver:
    """Sends to fixed addresses through one server.

    A server may take a mail for some addresses and ask to come again for others (greylisting). Only the
    others get it again.
    """

    name = "mail"

    def __init__(self, settings: NotifySettings) -> None:
        host, _, port = (settings.mail_server or "").rpartition(":")
        self._host, self._port = host.strip("[]"), int(port or 0)
        self._tls = settings.mail_tls
        self._credentials = settings.mail_credentials()
        self._sender = settings.mail_from or ""
        self._to = settings.mail_to
        self._settled: dict[str, set[str]] = {}
        """By message, the addresses that need it no more: they have it, or are refused for good."""

    async def send(self, notice: Notice, picture: bytes | None, kept: Mapping[str, str]) -> Kept:
        """Send a mail, but none where nothing changed or somebody answered. Raises NotTakenError."""
        first = kept.get("first")
        if notice.kind in (NoticeKind.REPEATED, NoticeKind.ANSWERED) and first is not None:
            return dict(kept)
        message = mail(notice, picture, sender=self._sender, to=self._to, first=first)
        user, password = self._credentials or (None, None)
        settled = self._settled.setdefault(notice.message, set())
        while len(self._settled) > PART_TAKEN_MAX:
            del self._settled[next(iter(self._settled))]
        asked = [address for address in self._to if address not in settled]
        try:
            refused, _answer = await aiosmtplib.send(
                message,
                recipients=asked,
                hostname=self._host,
                port=self._port,
                use_tls=self._tls == "tls",
                start_tls=self._tls == "starttls",
                username=user,
                password=password,
                timeout=ANSWER_S,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = {
                each.recipient: SMTPResponse(each.code, each.message) for each in error.recipients
            }
            if not settled and not any(each.code in _PASSING for each in refused.values()):
                raise _not_taken(error, again=False) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _not_taken(error, again=error.code in _PASSING) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _not_taken(error, again=True) from error
        self._settle(settled, asked, refused)
        if waiting := [address for address in asked if address not in settled]:
            words = "; ".join(f"{each}: {_words(refused[each])}" for each in waiting)
            raise NotTakenError(f"the server asks to come again: {one_line(words, SHOWN_MAX)}")
        self._settled.pop(notice.message, None)
        return {"first": first or str(message["Message-ID"])}

    def _settle(
        self, settled: set[str], asked: list[str], refused: Mapping[str, SMTPResponse]
    ) -> None:
        for address in asked:
            answer = refused.get(address)
            if answer is not None and answer.code in _PASSING:
                continue
            settled.add(address)
            if answer is not None:
                _log.error("address_refused", address=address, detail=_words(answer),
                           action="take the address out of notify.mail_to, or correct it")  # fmt: skip

    async def close(self) -> None:
        """Nothing stays open: each mail has a connection of its own."""


def _words(answer: SMTPResponse) -> str:
    return one_line(f"{answer.code} {answer.message}", SHOWN_MAX)


def _not_taken(error: Exception, *, again: bool) -> NotTakenError:
    reason = f"{type(error).__name__}: {one_line(str(error), SHOWN_MAX)}"
    return NotTakenError(reason, _ACTION, again=again)
