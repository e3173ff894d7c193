"""What the integration tests stand on: real servers on free loopback ports, fake ones that misbehave, fast publishers."""
