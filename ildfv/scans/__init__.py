"""CT in: readers, label maps, windows, phantoms, prepare."""
