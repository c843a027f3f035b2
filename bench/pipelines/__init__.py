"""Pipelines of diffusers as teachers: ``docs/my-diffusers-model.md``."""
