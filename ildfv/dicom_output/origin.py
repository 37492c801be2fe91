"""Attributes shared by all objects of one prediction: source, identifiers, equipment, algorithm and intended use."""

from __future__ import annotations

from functools import cached_property

from highdicom import AlgorithmIdentificationSequence
from highdicom.sr import AlgorithmIdentification
from pydicom.sr.codedict import codes

from ildfv.dicom_output.identifiers import Identifiers
from ildfv.dicom_output.sources import Source
from ildfv.inference.prediction import Prediction
from ildfv.version import __version__

MANUFACTURER, MODEL = "ildfv", "ildfv predict"
USE = "Research use only"
PHANTOM = "PHANTOM-trained predictor"
NUMBERS = {"report": 9001, "segmentation": 9002, "capture": 9003, "map": 9011}  # SeriesNumber
OWN_SERIES = "map"  # each object of this kind has its own series, because OHIF shows only one parametric map per series
SERIAL = 16  # number of digits of the predictor's checksum in the serial number of the device


def identifiers_of(checksum: str, source: Source) -> Identifiers:
    """UIDs of the objects of a prediction. checksum: SHA-256 of the predictor. source: the source of the scan."""
    return Identifiers(checksum, [f"{instance.uid}#{instance.frame or ''}" for instance in source.instances])


class Origin:
    """A prediction and the source of its scan, with the attributes that all of its objects share."""

    def __init__(self, prediction: Prediction, source: Source):
        self.prediction, self.source = prediction, source

    @cached_property
    def identifiers(self) -> Identifiers:
        """UIDs of the objects of this prediction."""
        return identifiers_of(self.checksum, self.source)

    @property
    def checksum(self) -> str:
        """SHA-256 of the predictor."""
        return self.prediction.predictor["checksum"]

    @property
    def use(self) -> str:
        """The intended use, which every object states."""
        return f"{USE}, {PHANTOM}" if self.prediction.predictor.get("data") == "phantom" else USE

    def common(self, kind: str, number: int, description: str) -> dict:
        """The keyword arguments of highdicom for series, instance and equipment of an object.

        kind: a key of `NUMBERS`. number: number of the object among those of its kind, from 1. description: description
        of the series.
        """
        of_series = number if kind == OWN_SERIES else 1
        return {
            "series_instance_uid": self.identifiers.uid(kind, "series", of_series),
            "series_number": NUMBERS[kind] + of_series - 1,
            "sop_instance_uid": self.identifiers.uid(kind, number),
            "instance_number": number,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL,
            "software_versions": __version__,
            "device_serial_number": self.checksum[:SERIAL],
            "series_description": f"ildfv {description}. {self.use}"[:64],
        }

    def algorithm(self, head: str, threshold: str) -> AlgorithmIdentification:
        """A head of the predictor, as a report identifies it. threshold: the rule for presence in words."""
        return AlgorithmIdentification(
            name=f"ildfv {head}"[:64],
            version=f"{__version__}, predictor {self.checksum[:SERIAL]}",
            parameters=[threshold, self.use],
            family=codes.cid7162.ArtificialIntelligence,
        )

    def algorithm_item(self, head: str, **parameters: str) -> AlgorithmIdentificationSequence:
        """A head of the predictor, as an image identifies it."""
        return AlgorithmIdentificationSequence(
            name=f"ildfv {head}"[:64],
            family=codes.cid7162.ArtificialIntelligence,
            version=f"{__version__}, predictor {self.checksum[:SERIAL]}",
            parameters={"predictor": self.checksum, "use": self.use, **parameters},
        )
