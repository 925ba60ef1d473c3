"""Pocket's world: toy scenes that are drawn from numbers, path traced, and told in words."""
