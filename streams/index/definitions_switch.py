"""The switch of definitions that change while an index runs."""

WORKERS_APPLY_DEFINITIONS = False
"""Whether workers compile their markets by the documents that they follow. Until they do, a command
that says so would not be true: there is none."""
