"""Predictions as DICOM objects of the patient's study: report, segmentation, parametric maps, secondary captures.

Unlike all other output, these objects contain the patient and study of the scan, which a PACS requires.
"""
