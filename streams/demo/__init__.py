"""``ecindex demo``: local servers, simulated shops, and the planted changes that a demo shows."""
