"""Predictions for slices and scans, and maps that show where in the image the evidence is."""
