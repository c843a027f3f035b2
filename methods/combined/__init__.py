"""Methods that run a student and its teacher together."""
