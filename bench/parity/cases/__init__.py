"""One module for each of our solvers that has an external reference, with ``CASES = (Case(...), ...)``."""
