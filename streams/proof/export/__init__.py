"""``ecindex export``: what is published, as a table for analysts. ``rows`` is pure, ``files`` writes."""
