"""Methods that do not run the whole network at every step."""
