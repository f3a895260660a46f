"""Longitudinal change: networks that compare two visits, and those trained beside them."""
