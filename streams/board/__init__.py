"""The live page: reads Redis like any downstream service, sends states to browsers. No writes."""
