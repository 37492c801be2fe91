"""From files to slices: discovery, pairing with label maps, duplicates, preparation and the slice store."""
