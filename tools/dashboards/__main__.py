"""Write the dashboards' JSON files anew."""

from __future__ import annotations

from tools.dashboards import FOLDER, rendered

for name, text in rendered().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
