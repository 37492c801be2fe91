"""Coded concepts of the DICOM objects: from DICOM and SNOMED CT if they exist, otherwise from a private scheme.

All texts are ASCII, so that they are valid in the character set of the patient's name.
"""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

SCHEME = "99ILDFV"  # designators that begin with 99 are private (PS3.16, 8)


def _private(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, SCHEME, meaning)


PATTERNS = {
    "ground glass": CodedConcept("112120", "DCM", "Ground glass opacity"),
    "reticular": CodedConcept("112113", "DCM", "Reticular pattern"),
    "honeycomb": CodedConcept("112106", "DCM", "Honeycomb pattern"),
    "emphysema": CodedConcept("87433001", "SCT", "Pulmonary emphysema"),
}
MORPHOLOGY = CodedConcept("49755003", "SCT", "Morphologically abnormal structure")
LUNG = CodedConcept("39607008", "SCT", "Lung")
CHEST = CodedConcept("51185008", "SCT", "Chest")
CT_OF_CHEST = CodedConcept("169069000", "SCT", "CT of chest")

PRESENCE = CodedConcept("121052", "DCM", "Presence of property")
PRESENT = CodedConcept("52101004", "SCT", "Present")
ABSENT = CodedConcept("272519000", "SCT", "Absent")
PROBABILITY = CodedConcept("122157", "DCM", "Probability")
AREA = CodedConcept("42798000", "SCT", "Area")
SCORE = CodedConcept("246262008", "SCT", "Score")
HIGHEST_PROBABILITY = _private("HIGHEST-PROBABILITY", "Highest probability of a pattern on any slice")
SLICES = _private("SLICES", "Number of slices with a pattern")
TOTAL_AREA = _private("TOTAL-AREA", "Area of a pattern, sum over the slices with it")
CONTRIBUTION = _private("CONTRIBUTION", "Contribution of a pixel to the score of a pattern")

RATIO = CodedConcept("1", "UCUM", "no units")
CM2 = CodedConcept("cm2", "UCUM", "square centimeter")
COUNT = CodedConcept("{slices}", "UCUM", "slices")
SCORE_UNITS = CodedConcept("{score}", "UCUM", "score")


def pattern_code(pattern: str) -> CodedConcept:
    """The concept of a pattern, from the private scheme if it is not in `PATTERNS`."""
    return PATTERNS.get(pattern) or _private(pattern.upper().replace(" ", "-")[:16], pattern.capitalize()[:64])


def scheme_item() -> CodingSchemeIdentificationItem:
    """The private scheme, for CodingSchemeIdentificationSequence."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME, name="ildfv private codes", responsible_organization="ildfv (research software)"
    )
