"""Answers for slices and scans, and where in the image they come from."""
