"""Judging and choosing models by their out-of-fold predictions."""
