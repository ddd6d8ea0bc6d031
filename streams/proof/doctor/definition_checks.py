"""Checks that each market is published by the definitions in force, and that these can be applied."""

from __future__ import annotations

from collections.abc import Mapping

from streams.flow.defined_market import why_not_applied
from streams.flow.definitions_book import MarketDefinitions
from streams.index.formats import RAISE_EDITION
from streams.index.methodology import Methodology
from streams.proof.doctor.findings import Finding, Level
from streams.records.values_log import MarketValues

LAG_MAX_MS = 30_000
"""Workers follow within 10 s."""


def check_definitions(
    methodology: Methodology,
    held: Mapping[str, MarketDefinitions],
    published: Mapping[str, MarketValues],
    now_ms: int,
    topic_id: str = "",
) -> list[Finding]:
    """Check each market that has a document. ``held``: what ``ecindex.definitions`` has of it.

    ``topic_id``: of ``ecindex.definitions``; empty: the broker tells none.
    """
    findings: list[Finding] = []
    for code, market in sorted(published.items()):
        published_id = "" if market.fence is None else market.fence.definitions_id
        if published_id and topic_id and published_id != topic_id:
            findings.append(
                Finding(
                    "definitions",
                    Level.WRONG,
                    code,
                    f"published by versions of the topic {published_id}",
                    f"the topic was created again and is {topic_id} now: its versions begin anew",
                    f"{RAISE_EDITION}, before a worker is restarted",
                )
            )
    for code, of_market in sorted(held.items()):
        if of_market.troubles:
            last = of_market.troubles[-1]
            findings.append(
                Finding(
                    "definitions",
                    Level.WRONG,
                    code,
                    "every record of the topic can be read",
                    f"{len(of_market.troubles)} since version {of_market.version} change nothing; "
                    f"the last would be version {last.version}: {last.reason}",
                    "see the runbook, EcindexDefinitionsRefused",
                )
            )
        if code in methodology.markets and (reason := why_not_applied(methodology, held, code)):
            findings.append(
                Finding(
                    "definitions",
                    Level.WRONG,
                    code,
                    f"version {of_market.version} can be applied",
                    reason,
                    f"ecindex definitions undo {code} --reason TEXT, or apply others",
                )
            )
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
