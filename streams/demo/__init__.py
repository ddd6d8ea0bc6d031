"""``ecindex demo``: local servers, simulated shops, and the story that they play."""
