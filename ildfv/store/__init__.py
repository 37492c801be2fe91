"""Files on disk: atomic writes, parts, models, checksums, fingerprints, locks and remote folders."""
