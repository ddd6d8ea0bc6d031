"""Checks that each market is published by the definitions that are in force."""

from __future__ import annotations

from collections.abc import Mapping

from streams.flow.definitions_book import MarketDefinitions
from streams.proof.doctor.findings import Finding, Level
from streams.records.values_log import MarketValues

LAG_MAX_MS = 30_000
"""Workers follow within 10 s."""


def check_definitions(
    held: Mapping[str, MarketDefinitions], published: Mapping[str, MarketValues], now_ms: int
) -> list[Finding]:
    """Check each market that has a document. ``held``: what ``ecindex.definitions`` has of it."""
    findings: list[Finding] = []
    for code, market in sorted(published.items()):
        definitions = held.get(code)
        if definitions is None or not definitions.applied or market.version is None:
            continue
        change, shown = definitions.applied[-1], market.version.definitions
        late_ms = now_ms - change.at_ms
        lags = shown < change.version and late_ms > LAG_MAX_MS
        findings.append(
            Finding(
                "definitions",
                Level.WRONG if lags else Level.OK,
                code,
                f"published by version {change.version} within {LAG_MAX_MS // 1000} s",
                f"published by version {shown}"
                + (f", {late_ms / 1000:.0f} s after {change.version} was applied" if lags else ""),
                "ask each worker, `ecindex doctor --worker URL`, and read its log: it cannot apply them "
                "or does not read the topic"
                if lags
                else "",
                cause=f"version {change.version}" if lags else "",
            )
        )
    return findings
