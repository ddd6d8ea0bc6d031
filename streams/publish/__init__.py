"""Where index values go: Redis, Prometheus, Kafka."""
