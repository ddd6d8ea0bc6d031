"""Other systems' data -> events. Pure functions, no IO."""
