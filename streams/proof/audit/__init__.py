"""``ecindex audit``: what the system holds equals a batch recomputation from the log, to the last digit.

``recompute`` is the second implementation; here stands what is read, in which order, and what of it is
compared with what. Two implementations that agree on every digit are the point.
"""
