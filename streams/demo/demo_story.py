"""Reports the shifts of a demo: found, explained, over. It knows what any reader of Redis knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.board.shown_shifts import ShownShift as Active
from streams.demo.demo_plan import Plan
from streams.index.indices import CATEGORY, MARKET
from streams.index.panes import rfc3339

CONTRIBUTORS_MAX = 3
_Key = tuple[str, str, str]


class Story:
    """Compares the active shifts with those of the call before. It reads no clock and does no IO."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[_Key, Active] = {}

    def news(self, found: Mapping[str, Sequence[Active]], now_ms: int) -> list[str]:
        """Sentences on the shifts that began and those that are over, by market.

        ``found``: active shifts of each market. A market's total and its categories are reported one by
        one, unless the total explains them. Other series that shifted with them are only counted.
        """
        lines: list[str] = []
        for market, shifts in found.items():
            active = {(market, shift.dimension, shift.member): shift for shift in shifts}
            known = {key: shift for key, shift in self._known.items() if key[0] == market}
            began = {key: shift for key, shift in active.items() if key not in known}
            over = {key: shift for key, shift in known.items() if key not in active}
            lines += self._news_of(began, list(active.values()), now_ms)
            lines += self._over(over, list(known.values()), now_ms)
            for key in over:
                del self._known[key]
            self._known |= active
        return lines

    def _news_of(
        self, began: Mapping[_Key, Active], all_active: Sequence[Active], now_ms: int
    ) -> list[str]:
        own = {key: shift for key, shift in began.items() if not _explained(shift, all_active)}
        lines = [self._begins(key[0], shift, now_ms) for key, shift in own.items()]
        return lines + _along(began, own, "shifted with it")

    def _over(
        self, over: Mapping[_Key, Active], all_known: Sequence[Active], now_ms: int
    ) -> list[str]:
        own = {key: shift for key, shift in over.items() if not _explained(shift, all_known)}
        lines = [
            f"OVER   {_clock(now_ms)}: {_name(key[0], shift)} is back to usual; it was "
            f"{_size(shift)} since {_since(shift)}"
            for key, shift in own.items()
        ]
        return lines + _along(over, own, "are back to usual")

    def _begins(self, market: str, shift: Active, now_ms: int) -> str:
        parts = [f"FOUND  {_clock(now_ms)}: {_name(market, shift)} is {_size(shift)}"]
        parts.append(f" since {_since(shift)}")
        if shift.evidence is not None:
            parts.append(f", evidence {shift.evidence:.3g}times its paging threshold")
        if named := _contributors(shift):
            parts.append(f"; {named}")
        planted_ms = self._planted_ms(market, shift)
        if planted_ms is not None and planted_ms <= now_ms:
            after_s = (now_ms - planted_ms) / 1000
            parts.append(f" (planted at {_clock(planted_ms)}, found after {after_s:.0f} s)")
        return "".join(parts)

    def _planted_ms(self, market: str, shift: Active) -> int | None:
        jump, outage = self._plan.shift, self._plan.outage
        if (market, shift.dimension, shift.member) == (jump.market, CATEGORY, jump.category):
            return jump.start_ms
        if outage is not None and (market, shift.dimension) == (outage.market, MARKET):
            return outage.start_ms
        return None


def _explained(shift: Active, beside: Sequence[Active]) -> bool:
    """True if another active shift explains it, so that it needs no sentence of its own.

    A market's fall explains the falls of its categories. A market or a category explains any other
    series.
    """
    if shift.dimension == MARKET:
        return False
    if shift.dimension != CATEGORY:
        return any(other.dimension in (MARKET, CATEGORY) for other in beside)
    return any(
        other.dimension == MARKET and other.direction == shift.direction == -1 for other in beside
    )


def _along(all_of: Mapping[_Key, Active], own: Mapping[_Key, Active], what: str) -> list[str]:
    rest = [key for key in all_of if key not in own]
    return [f"       {len(rest)} other series of {rest[0][0]} {what}"] if rest else []


def _name(market: str, shift: Active) -> str:
    if shift.dimension == MARKET:
        return f"demand in {market} as a whole"
    return f"{shift.dimension} {shift.member} in {market}"


def _size(shift: Active) -> str:
    word = {1: "up", -1: "down"}.get(shift.direction, "shifted")
    if shift.ratio is None:
        return word
    size = f"{word}, {shift.ratio:.2f}x usual"
    if shift.lower is None or shift.upper is None:
        return size
    return f"{size} ({shift.lower:.2f} to {shift.upper:.2f})"


def _since(shift: Active) -> str:
    return f"{shift.start[11:16]} UTC" if shift.start else "an unknown time"


def _contributors(shift: Active) -> str:
    parts = [
        f"{each.dimension} {each.label} {each.observed:.0f} instead of {each.expected:.0f}"
        for each in shift.contributors
        if each.dimension != shift.dimension
        and each.observed is not None
        and each.expected is not None
    ]
    return ", ".join(parts[:CONTRIBUTORS_MAX])


def _clock(instant_ms: int) -> str:
    return f"{rfc3339(instant_ms)[11:19]} UTC"
