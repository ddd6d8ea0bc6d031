"""Kafka and Redis from outside: topics, sending, reading back, and what of it cannot be read."""
