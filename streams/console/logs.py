"""Log lines, ours and the libraries' in one format, to stderr or a file.

Stdout is for results. docs/security.md says what a line may contain.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import structlog

from streams.console.chatter import show_libraries
from streams.settings import LogSettings

LIBRARIES = ("aiohttp", "aiokafka", "asyncio", "faust", "mode")
"""Loggers of libraries. Their `info` reports each request; it is shown at our `debug`. Their own `debug`
is never shown: aiokafka writes every request with it, including the bytes of events and of a
password."""
ALIKE_MAX = 20
ALIKE_OF_LIBRARIES_MAX = 5
"""How many lines of a kind of a library: while the broker is away aiokafka writes several a second."""
ALIKE_WITHIN_S = 60.0
KINDS_MAX = 1_000
"""How many kinds of lines are remembered. The kind not seen for longest is forgotten."""

# A traceback is logged without the variables of its frames: they can hold a password or an event.
_traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
# Characters that a terminal acts upon, or takes for a new line. JSON escapes them by itself.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROLS_BUT_LINES = re.compile(_CONTROLS.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))


@dataclass(slots=True)
class _Alike:
    since_s: float
    shown: int = 0
    left_out: int = 0


class AlikeFilter(logging.Filter):
    """Limits the lines of a kind within ``within_s``; the next one shown says how many were left out.

    A kind is a logger and an event name, or a logger and a message before its arguments are put in. A
    broker that is away, or a producer of broken events, must not fill the disk.
    """

    def __init__(self, limit: int = ALIKE_MAX, within_s: float = ALIKE_WITHIN_S) -> None:
        super().__init__()
        self._limit = limit
        self._within_s = within_s
        self._kinds: OrderedDict[tuple[str, str], _Alike] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """True if the record is shown. Adds to it how many lines of its kind were left out before it."""
        # structlog passes its event on as a dictionary, although the type says text.
        event: object = record.msg
        fields = event if isinstance(event, dict) else None
        kind = (record.name, str(fields.get("event") if fields is not None else event)[:200])
        seen = self._kinds.setdefault(kind, _Alike(record.created))
        self._kinds.move_to_end(kind)
        if len(self._kinds) > KINDS_MAX:
            self._kinds.popitem(last=False)
        if record.created - seen.since_s >= self._within_s:
            if seen.left_out and fields is not None:
                fields["left_out"] = seen.left_out
            elif seen.left_out:
                record.msg = f"{record.msg} ({seen.left_out} similar lines left out)"
            seen.since_s, seen.shown, seen.left_out = record.created, 0, 0
        of_library = record.name.partition(".")[0] in LIBRARIES
        if seen.shown >= (min(self._limit, ALIKE_OF_LIBRARIES_MAX) if of_library else self._limit):
            seen.left_out += 1
            return False
        seen.shown += 1
        return True


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def escape_controls(
    _logger: object, _method: str, event_dict: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape control characters, so that text from outside cannot move the cursor or begin a line."""
    for key, value in event_dict.items():
        if isinstance(value, str):
            event_dict[key] = _CONTROLS.sub(_escaped, value)
    return event_dict


def _plain_traceback(sio: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    sio.write(_CONTROLS_BUT_LINES.sub(_escaped, text.getvalue()))


def configure_logs(settings: LogSettings, file: Path | None = None) -> None:
    """Send everything that this process logs to stderr, or to ``file``, as the settings say.

    A command that draws on the terminal needs a file.
    """
    on_terminal = file is None and sys.stderr.isatty()
    as_json = settings.format == "json" or (settings.format == "auto" and not on_terminal)
    level = getattr(logging, settings.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(_traceback), structlog.processors.JSONRenderer()]
        if as_json
        else [
            escape_controls,
            structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=_plain_traceback),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file)
    handler.addFilter(AlikeFilter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    show_libraries()
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(
            logging.INFO if level == logging.DEBUG else max(level, logging.WARNING)
        )
