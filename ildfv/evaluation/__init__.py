"""Folds, metrics, intervals, thresholds and the result documents."""
