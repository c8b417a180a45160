"""Pairs of answers to one prompt, of which one is the better: what preference methods train on."""
