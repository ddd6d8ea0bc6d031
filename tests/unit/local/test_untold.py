"""`ecindex up` with Alertmanager says that nobody is told, unless somebody is."""

from __future__ import annotations

from pathlib import Path

from streams.local.local_index import UpOptions, untold


def test_that_nobody_is_told_is_said_where_alerts_are_routed_nowhere():
    file = Path("demo.toml")
    (line,) = untold(UpOptions(alertmanager=True), file)
    assert line.startswith(
        "notify    nobody is told of alerts: run `ecindex notify --config demo.toml`"
    )
    assert untold(UpOptions(alertmanager=True, notify="http://127.0.0.1:9095/alerts"), file) == []
    assert untold(UpOptions(prometheus=True), file) == []
