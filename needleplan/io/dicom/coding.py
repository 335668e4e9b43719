"""Codes by which other programs know what a segment is, and the kinds of radiotherapy regions.

Codes are of SNOMED CT as DICOM lists them (PS3.16, context groups 7150, 7151, 7159 and 9514); a planned zone, for
which there is none, bears a code of needleplan's own scheme, whose name begins with 99 as PS3.16, section 8.2
demands.
"""

from dataclasses import dataclass
from typing import Any

Code = tuple[str, str, str]  #: value, scheme, meaning

_ANATOMY: Code = ("91723000", "SCT", "Anatomical Structure")
_ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
_SPATIAL: Code = ("309825002", "SCT", "Spatial and Relational Concept")
_TISSUE: Code = ("85756007", "SCT", "Tissue")


@dataclass(frozen=True, slots=True)
class SegmentCoding:
    """What a segment is.

    Attributes:
        category: code of the kind of thing (PS3.16, CID 7150).
        kind: code of the thing itself.
        region_type: RT ROI interpreted type (PS3.3, C.8.8.8.1).
    """

    category: Code
    kind: Code
    region_type: str


PLANNED_ZONE = SegmentCoding(
    _SPATIAL, ("planned-ablation-zone", "99NEEDLEPLAN", "Planned ablation zone"), "TREATED_VOLUME"
)
TUMOUR = SegmentCoding(_ABNORMAL, ("108369006", "SCT", "Neoplasm"), "GTV")
SKIN = SegmentCoding(_ANATOMY, ("39937001", "SCT", "Skin"), "EXTERNAL")
UNKNOWN = SegmentCoding(_TISSUE, ("85756007", "SCT", "Tissue"), "ORGAN")

#: Words of names, the more special first, and the codes of what they name.
_WORDS: tuple[tuple[str, str, str], ...] = (
    ("inferior vena cava", "64131007", "Inferior vena cava"),
    ("portal", "32764006", "Portal vein"),
    ("hepatic artery", "76015000", "Hepatic artery"),
    ("hepatic vein", "8993003", "Hepatic vein"),
    ("renal artery", "2841007", "Renal artery"),
    ("renal vein", "56400007", "Renal vein"),
    ("pulmonary artery", "81040000", "Pulmonary artery"),
    ("pulmonary vein", "122972007", "Pulmonary vein"),
    ("bile duct", "28273000", "Bile duct"),
    ("gallbladder", "28231008", "Gallbladder"),
    ("gall bladder", "28231008", "Gallbladder"),
    ("adrenal", "23451007", "Adrenal gland"),
    ("spinal cord", "2748008", "Spinal cord"),
    ("small bowel", "30315005", "Small intestine"),
    ("small intestine", "30315005", "Small intestine"),
    ("liver", "10200004", "Liver"),
    ("kidney", "64033007", "Kidney"),
    ("lung", "39607008", "Lung"),
    ("spleen", "78961009", "Spleen"),
    ("pancreas", "15776009", "Pancreas"),
    ("stomach", "69695003", "Stomach"),
    ("duodenum", "38848004", "Duodenum"),
    ("colon", "71854001", "Colon"),
    ("esophagus", "32849002", "Esophagus"),
    ("heart", "80891009", "Heart"),
    ("aorta", "15825003", "Aorta"),
    ("diaphragm", "5798000", "Diaphragm"),
    ("sternum", "56873002", "Sternum"),
    ("vertebra", "51282000", "Vertebra"),
    ("rib", "113197003", "Rib"),
    ("bone", "272673000", "Bone"),
    ("bronch", "955009", "Bronchus"),
    ("trachea", "44567001", "Trachea"),
    ("arter", "51114001", "Artery"),
    ("vein", "29092000", "Vein"),
    ("vessel", "59820001", "Blood Vessel"),
)
_TUMOUR_WORDS = ("tumour", "tumor", "neoplasm", "metasta", "lesion", "carcinoma")


def coding_of(name: str) -> SegmentCoding:
    """The coding that a structure's name stands for; ``UNKNOWN`` (tissue) where it stands for none."""
    words = name.lower().replace("_", " ").replace("-", " ")
    if "ablation" in words or words.split()[-1:] == ["zone"]:
        return PLANNED_ZONE
    if any(word in words for word in _TUMOUR_WORDS):
        return TUMOUR
    if any(word in words.split() for word in ("skin", "body")):
        return SKIN
    for word, value, meaning in _WORDS:
        if f" {word}" in f" {words}":
            return SegmentCoding(_ANATOMY, (value, "SCT", meaning), "ORGAN")
    return UNKNOWN


def coded_concept(code: Code) -> Any:
    """The code as highdicom writes it."""
    from highdicom.sr.coding import CodedConcept

    return CodedConcept(*code)
