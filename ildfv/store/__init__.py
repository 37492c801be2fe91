"""What is on disk: parts, slices, encodings, models, workspace."""
