"""The HTTP door: events of the contract from whoever has a token, into the inputs."""
