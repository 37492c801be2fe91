"""Preparation of scans: discovery, pairing with label maps, conversion to slices, duplicates and the slice store."""
