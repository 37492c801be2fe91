"""Scans from a PACS, and DICOM objects of predictions back into it: by DICOMweb, or C-STORE as an alternative."""
