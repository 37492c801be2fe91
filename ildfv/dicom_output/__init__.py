"""Predictions as DICOM objects of the patient's study: report, segmentation, parametric maps, secondary captures.

These objects contain the patient and study of the scan, as a PACS requires; all other output contains no identity.
"""
