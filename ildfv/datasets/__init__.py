"""From files to slices: discovery, pairing with label maps, duplicates, preparation, the slice store."""
