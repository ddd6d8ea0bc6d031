"""``ecindex doctor``: what was expected, what was found, where, and the command that fixes it."""
