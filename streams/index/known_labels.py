"""The labels of raw texts, remembered: the same few are said in every event."""

from __future__ import annotations

from streams.index.label_text import ABSENT, label_of

_KNOWN_MAX = 20_000
_TEXT_CHARACTERS_MAX = 128


class KnownLabels:
    """Raw text -> label, with a bounded memory."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def get(self, text: str | None) -> str:
        """Return the label of a text; ``ABSENT`` when there is none, or an empty one."""
        if not text:
            return ABSENT
        found = self._known.get(text)
        return self._learn(text) if found is None else found

    def _learn(self, text: str) -> str:
        found = label_of(text)
        if len(text) <= _TEXT_CHARACTERS_MAX:
            if len(self._known) >= _KNOWN_MAX:
                # A producer that invents labels must not fill the memory.
                self._known.clear()
            self._known[text] = found
        return found
