"""Checkpoints and mixes for others: what is published, its card, and the Hugging Face hub."""
