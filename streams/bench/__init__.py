"""Benches: measurements that anyone can repeat."""
