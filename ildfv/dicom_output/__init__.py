"""Predictions as DICOM objects of the patient's study: report, segmentation, parametric maps, secondary captures.

These objects carry the patient and study of the scan, as a PACS needs; all other output of ildfv is free of identity.
"""
