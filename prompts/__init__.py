"""Prompts: for each feature and model family, the right prompt, chosen and rendered."""
