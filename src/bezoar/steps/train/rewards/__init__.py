"""Rewards for answers that can be verified, one module each.

A reward has a version: recipes name it, so two runs with one version were rewarded by the same rule. A rule that
changes gets the next version.
"""
