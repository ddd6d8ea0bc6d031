"""Links from the page to the dashboards and the runbook, put into its HTML when the board starts."""

from __future__ import annotations

from html import escape

PLACE = b"<!-- links -->"
"""Where index.html wants them."""
DASHBOARD = "/d/ecindex-index"
"""Path of the dashboard "Index", by the uid in tools/dashboards/. The page adds market and window."""


def with_links(page: bytes, *, grafana: str | None, runbook: str | None) -> bytes:
    """The page with a link to each address that is set; without one its place stays empty.

    >>> with_links(b"<p><!-- links --></p>", grafana=None, runbook="https://wiki.example/runbook.md")
    b'<p><a id="runbook" href="https://wiki.example/runbook.md">Runbook</a></p>'
    """
    found = [
        f'<a id="{name}" href="{escape(address)}">{words}</a>'
        for name, address, words in (
            ("dashboard", grafana and f"{grafana}{DASHBOARD}", "Dashboard"),
            ("runbook", runbook, "Runbook"),
        )
        if address
    ]
    return page.replace(PLACE, " · ".join(found).encode())
