"""Simulated shops: events and history that look like a market's."""
