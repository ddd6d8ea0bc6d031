"""Servers and workers as child processes of this machine: Kafka, Redis, Prometheus, ``up``."""
