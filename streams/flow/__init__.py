"""The two stateful steps, synchronous and framework-free."""
