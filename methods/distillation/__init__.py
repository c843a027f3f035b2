"""Distilled students: networks of the teacher's architecture that need few evaluations."""
