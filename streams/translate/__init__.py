"""A source's own records -> contract events, by the file that describes the source. No IO."""
