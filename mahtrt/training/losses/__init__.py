"""Losses, one group a file, and their sum."""
