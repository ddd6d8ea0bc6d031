"""Kafka and Redis from outside: topics, sending, reading back, and records that cannot be read."""
