"""Notifications as Alertmanager sends them."""

from __future__ import annotations

import json

from streams.index.panes import rfc3339

NOW_MS = 1_767_328_860_000
"""2 January 2026, 04:41 UTC."""
BEGAN_MS = NOW_MS - 5 * 60_000
NEVER = "0001-01-01T00:00:00Z"
BOARD, GRAFANA = "https://index.example", "https://grafana.example"
RUNBOOK = "https://wiki.example/runbook.md"


def alert(name="EcindexMarketOutage", *, firing=True, summary=None, links=True, **labels):
    labels = {
        "alertname": name,
        "severity": "page",
        "market": "PK",
        "dimension": "market",
        "member": "all",
    } | labels
    labels = {key: value for key, value in labels.items() if value is not None}
    market = labels.get("market", "")
    annotations = {
        "summary": summary
        or f"{market}: orders have all but stopped since 04:36 UTC on 2 Jan: 2 in the last minute",
        "description": "Ask whether the shop takes orders (checkout, site, app).",
        "dashboard_url": f"{GRAFANA}/d/ecindex-index?var-market={market}&from=1" if links else "",
        "page_url": f"{BOARD}/?market={market}" if links else "",
        "runbook_url": f"{RUNBOOK}#{name.lower()}" if links else f"docs/runbook.md#{name.lower()}",
    }
    return {
        "status": "firing" if firing else "resolved",
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(BEGAN_MS + 75_000),
        "endsAt": NEVER if firing else rfc3339(NOW_MS),
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "|".join(f"{k}={v}" for k, v in sorted(labels.items())),
    }


def notification(*alerts, market="PK", truncated=0):
    alerts = alerts or (alert(),)
    firing = any(each["status"] == "firing" for each in alerts)
    return {
        "version": "4",
        "groupKey": f'{{}}/{{severity="page"}}:{{market="{market}"}}',
        "truncatedAlerts": truncated,
        "status": "firing" if firing else "resolved",
        "receiver": "page",
        "groupLabels": {"market": market},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    }


def body(found):
    return json.dumps(found).encode()


def incident(
    name="PK-20260102T0437-down",
    *,
    over=None,
    member="all",
    affected=(),
    now=(2.0, 1_006.0),
    **changes,
):
    """An incident as Redis holds it, of a series that stopped at BEGAN_MS."""
    dimension = "market" if member == "all" else "category"
    size = {"since": rfc3339(BEGAN_MS), "until": rfc3339(NOW_MS), "observed": 10.0, "expected": 5_030.0,
            "ratio": 0.002, "lower": 0.001, "upper": 0.004}  # fmt: skip
    last = {"since": rfc3339(NOW_MS - 60_000), "observed": now[0], "expected": now[1]}
    shift = {
        "dimension": dimension, "member": member, "number": 1, "direction": "down", "clock": "fast",
        "start": rfc3339(BEGAN_MS), "found": rfc3339(BEGAN_MS + 60_000), "evidence": 1.4,
        **{key: size[key] for key in ("observed", "expected", "ratio", "lower", "upper")},
    }  # fmt: skip
    return {
        "id": name, "market": "PK", "state": "open" if over is None else "over", "kind": "outage",
        "direction": "down", "dimension": dimension, "member": member, "began": rfc3339(BEGAN_MS),
        "found": rfc3339(BEGAN_MS + 60_000), "over": over, "evidence": 1.4, "shifts": [shift],
        "size": size, "now": None if over else size | last, "affected": list(affected), "v": 1,
    } | changes  # fmt: skip
