"""The switch of definitions that change while an index runs."""

WORKERS_APPLY_DEFINITIONS = True
"""Whether workers compile their markets by the documents that they follow, and commands change them."""
