"""Metrics: one file each, ``statistics(batch)`` then ``value(statistics, reference)``."""
