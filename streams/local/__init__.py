"""Servers and workers as child processes on this machine: Kafka, Redis, Prometheus, ``up``."""
