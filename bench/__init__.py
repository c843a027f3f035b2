"""The benchmark harness of few-step diffusion generation."""
