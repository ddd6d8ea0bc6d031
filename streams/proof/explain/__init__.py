"""``ecindex explain``: shows step by step how one number follows from published records.

``gather`` reads the topics and ``print_explanation`` prints. The other modules are pure functions of
the records read. ``terms`` and ``formula_words`` say which sums a number is made from. The arithmetic
is that of ``recompute``, which the audit also uses. An explanation starts from what was published;
``ecindex audit`` compares that with the log.
"""
