"""What an operator does to an installation: worker process, import, seed, dead letters, show."""
