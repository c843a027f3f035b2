"""VBench 0.1.5, the real one, in an environment of its own: its pins clash with everything else."""
