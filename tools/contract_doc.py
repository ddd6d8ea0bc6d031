"""Writes the tables of docs/contract.md that come from the code: ``uv run poe contract``."""

from __future__ import annotations

from pathlib import Path

from streams.publish.metric_table import (
    DOOR,
    INDEX,
    NOTIFY,
    SERVICE,
    TRANSLATOR,
    markdown_table,
)

CONTRACT = Path("docs/contract.md")
_END = "<!-- end -->"
_SECTIONS = {
    "<!-- generated: index metrics -->": INDEX,
    "<!-- generated: service metrics -->": SERVICE,
    "<!-- generated: notify metrics -->": NOTIFY,
    "<!-- generated: door metrics -->": DOOR,
    "<!-- generated: translator metrics -->": TRANSLATOR,
}


def with_tables(text: str) -> str:
    """Return the contract with its generated tables renewed. ValueError if a marker is missing."""
    for marker, specs in _SECTIONS.items():
        before, found, rest = text.partition(marker)
        _, ended, after = rest.partition(_END)
        if not found or not ended:
            raise ValueError(f"docs/contract.md: {marker} or its {_END} is missing; put it back")
        text = f"{before}{marker}\n{markdown_table(specs)}{_END}{after}"
    return text


def write() -> None:
    """Renew the tables of docs/contract.md in the working directory."""
    CONTRACT.write_text(with_tables(CONTRACT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
