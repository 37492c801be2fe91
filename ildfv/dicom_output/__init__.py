"""Predictions as DICOM objects of the patient's study: report, segmentation, parametric maps, secondary captures.

These objects always contain the patient and study of the scan, because a PACS requires them. Other output contains
identifiers only with `keep_identity`.
"""
