"""The error that ends a command. The command line prints its text and exits with 1."""

from __future__ import annotations


class OperationError(RuntimeError):
    """Something outside is wrong (a broker, a file). The text says what is wrong and who must act."""


class WrongTopicsError(OperationError):
    """Topics are missing or not as the settings say: to start again changes nothing."""
