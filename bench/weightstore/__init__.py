"""Weights of feature networks: what there is, where it comes from, and how it gets here; nothing comes unasked."""
