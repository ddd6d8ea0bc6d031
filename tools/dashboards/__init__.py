"""Grafana's dashboards as typed code: ``uv run poe dashboards`` writes them as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards.index import index_dashboard
from tools.dashboards.service import service_dashboard

FOLDER = Path(__file__).parents[2] / "config" / "grafana" / "dashboards"


def rendered() -> dict[str, str]:
    """Return the content of each file of ``FOLDER``, by its name."""
    made = {"index": index_dashboard().build(), "service": service_dashboard().build()}
    for dashboard in made.values():
        # Without ids Grafana numbers panels anew at each load, and links to a panel break.
        for number, panel in enumerate(dashboard.panels or (), start=1):
            panel.id_val = number
    return {
        f"{name}.json": json.dumps(made[name], cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
        for name in made
    }
