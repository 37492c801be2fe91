"""A local web viewer of scans, predictions and workspaces."""
