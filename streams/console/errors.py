"""What a command may fail with. The command line prints the text and exits with 1."""

from __future__ import annotations


class OperationError(RuntimeError):
    """Something outside is wrong (a broker, a file); the text says what and who must act."""
