"""Methodologies of the tests: those that ship as examples, and one with markets of two of them."""

from __future__ import annotations

from pathlib import Path

from streams.index.methodology import parse

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"
DEMO, OLIST, ONLINE_RETAIL = (
    EXAMPLES / name / "methodology.toml" for name in ("demo", "olist", "online-retail")
)
DEMO_CONFIG = DEMO.with_name("ecindex.toml")
"""Settings for ``up``, whose index then takes events of the simulated shops."""
DEMO_TEXT = DEMO.read_text()


def _with_olist() -> str:
    """The five simulated markets and BR, whose log is old and whose days have another length."""
    text = OLIST.read_text()
    sets, _, market = text[text.index("olist = [") :].partition("[markets.BR]")
    return (
        DEMO_TEXT.replace("[category_sets]\n", f"[category_sets]\n{sets}")
        + f"\n[markets.BR]{market}"
    )


METHODOLOGY = parse(_with_olist())
"""PK, BD, LK, NP, MM and BR."""
