"""``ecindex export``: published values as a table. ``table_rows`` is pure, ``table_files`` writes."""
