"""``ecindex explain``: from published records to one number, step by step, and the number again.

``gather`` reads the topics and ``print_explanation`` prints; the rest are pure functions of the records
read. ``terms`` and ``formula_words`` say which sums a number is made from; the arithmetic is that of
``recompute``, which the audit uses too. What is explained is what was published; that it is what the log
says is ``ecindex audit``.
"""
