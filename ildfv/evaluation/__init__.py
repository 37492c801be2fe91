"""Folds, metrics, intervals."""
