"""Suites: one file each, what is being generated and how it is judged."""
