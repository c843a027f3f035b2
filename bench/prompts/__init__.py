"""Prompt sets: known ones from their official files, any text, CSV or JSONL file, and a small set of our own.

Every set comes from a file that the user names, or from this package; nothing is fetched.
"""

from __future__ import annotations

from bench.prompts.base import Prompt, PromptSet
from bench.prompts.sets import describe_prompts, load_prompts

__all__ = ["Prompt", "PromptSet", "describe_prompts", "load_prompts"]
