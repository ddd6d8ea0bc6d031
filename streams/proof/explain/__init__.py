"""``ecindex explain``: from published records to one number, step by step, and the number again.

``gather`` reads the topics, ``expectation``, ``formulas`` and ``explanation`` are pure functions of the
records read, ``show`` prints. What is explained is what was published; that it is what the log says is
``ecindex audit``.
"""
