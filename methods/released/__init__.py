"""Released students: one declaration for each checkpoint; see ``bench.released``."""
