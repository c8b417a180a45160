"""Bezoar: datasets and checkpoints as a declarative graph; its first recipe is OpenBezoar (arXiv:2404.12195)."""

__version__ = "0.1.0"
