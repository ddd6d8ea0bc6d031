"""Kafka seen from outside the service: topics, sending, reading back what was written."""
