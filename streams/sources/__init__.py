"""Vendor payloads to events, pure."""
