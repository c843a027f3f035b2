"""Engines: where tasks run. Each yields outcomes as they finish; none writes records."""
