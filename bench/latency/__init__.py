"""How long sampling takes: a named and versioned protocol."""
