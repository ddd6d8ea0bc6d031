"""What every command needs around its work: errors, progress, logs, signals."""
