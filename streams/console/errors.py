"""The error that ends a command. The command line prints its text and exits with 1."""

from __future__ import annotations

from collections.abc import Iterable


class OperationError(RuntimeError):
    """Something outside is wrong (a broker, a file). The text says what is wrong and who must act."""


def unknown_market(code: str, markets: Iterable[str]) -> OperationError:
    """Return the error for a market that the methodology does not have; it names those that it has."""
    known = ", ".join(sorted(markets))
    return OperationError(f"market {code!r} is not in methodology.toml; it has {known}")


class WrongTopicsError(OperationError):
    """Topics are missing or not as the settings say: to start again changes nothing."""
