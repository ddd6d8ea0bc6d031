"""Oracle O: what the system holds equals a batch recomputation from the log, to the last digit.

The recomputation shares with the system only what defines a value (decoding of events, methodology,
local days) and the formats it stores things in. Admission, sums, windows, days and the formulas of
the indices are written a second time here, plainly: named sums instead of columns, the whole log
instead of increments. Two implementations that agree on every digit are the point.
"""
