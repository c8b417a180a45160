"""Rows: sources and their formats, shards, and mixes to train on."""
