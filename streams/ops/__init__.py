"""What runs around the service: local stack, simulator, audit, doctor."""
