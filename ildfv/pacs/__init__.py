"""Scans from a PACS, and DICOM objects of predictions back into it: DICOMweb, or C-STORE where that is missing."""
