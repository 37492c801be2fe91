"""CT input: readers for DICOM, NIfTI and NRRD, geometry, label maps, windows and lung masks."""
