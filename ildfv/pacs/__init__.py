"""Reads scans from a PACS by DICOMweb, and stores DICOM objects of predictions there by DICOMweb or C-STORE."""
