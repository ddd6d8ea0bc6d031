"""The second implementation: recomputes sums from a log, and index values from sums. No IO.

It shares with the system only what defines a value (decoding of events, methodology, local days) and
the storage formats. Admission, sums, windows, days and the formulas of the indices are written a second
time here, plainly: named sums instead of columns, the whole log instead of increments.
"""
