"""Predictions for slices and scans, and their location in the image."""
