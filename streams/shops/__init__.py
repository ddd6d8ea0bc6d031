"""Simulated shops: events and history that resemble those of a market."""
