"""Metrics of captions: see docs/evaluation.md for each one's formula."""
