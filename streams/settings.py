"""The one frozen, typed settings object; the only reader of the environment."""
