"""The sinks of index values: Redis, Prometheus, Kafka."""
