"""``ecindex audit``: compares everything the system holds with a batch recomputation from the log.

The recomputation, ``recompute``, is a second implementation. This package decides what is read, in which
order, and what is compared with what. The two implementations must agree to the last digit.
"""
