"""The second implementation: what a log must come to, and what its sums must be published as. No IO.

It shares with the system only what defines a value (decoding of events, methodology, local days) and
the formats things are stored in. Admission, sums, windows, days and the formulas of the indices are
written a second time here, plainly: named sums instead of columns, the whole log instead of increments.
"""
