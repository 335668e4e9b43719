"""What the classes of automatic segmentation mean to a needle, by their names and never by their numbers.

The names are those of TotalSegmentator 2 (Wasserthal et al., Radiology: Artificial Intelligence 2023;5:e230024):
all classes of its task ``total`` and those of its further tasks that a needle in the trunk can meet. Version 1 of
the same program, which MONAI's whole-body bundle follows, and the common words for tumours are among them. Numbers
differ between versions (7 is the aorta in one and the pancreas in the other), so none is kept here.

The roles are this project's: whatever bleeds, leaks or breaks is to be kept clear of, an organ becomes passable
only where the target lies in it, and muscle and fat are what needles pass through.
"""

import difflib
from dataclasses import dataclass
from functools import cache

from needleplan.case.model import Role

#: Words that stand for a tumour; such a class is kept clear of unless it is the target.
TUMOUR_NAMES = (
    "liver_tumor", "liver_tumour", "liver_lesion", "liver_lesions", "hepatic_tumor", "kidney_tumor",
    "kidney_tumour", "lung_nodules", "lung_nodule", "lung_tumor", "pancreatic_tumor", "tumor", "tumour", "tumors",
    "tumours", "lesion", "lesions", "nodule", "metastasis", "metastases", "cancer",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KnownClass:
    """One class of a segmentation.

    Attributes:
        name: its name.
        structure: structure of a case that it becomes, alone or with others; "" where it is left out.
        role: role of that structure where the target does not lie in it.
        hosts_target: True where the structure becomes the organ if the target lies in it.
        inside: structure that holds this one, so that its own mask may leave it out; "" where there is none.
        reason: why it is left out; "" where it is not.
    """

    name: str
    structure: str
    role: Role
    hosts_target: bool = False
    inside: str = ""
    reason: str = ""


_MUSCLE = "needles pass through muscle"
_FAT = "needles pass through fat"
_HEAD = "a part of the head, where needles of this kind do not go"
_LIMB = "a part of a limb, where needles of this kind do not go"

#: structure, role, whether it can be the target's organ, names of its classes ("" for one of the same name).
_GROUPS: tuple[tuple[str, Role, bool, str], ...] = (
    ("liver", Role.CRITICAL, True, "liver " + " ".join(f"liver_segment_{k}" for k in range(1, 9))),
    ("spleen", Role.CRITICAL, True, ""),
    ("pancreas", Role.CRITICAL, True, ""),
    ("kidney_left", Role.CRITICAL, True, "kidney_left kidney_cyst_left"),
    ("kidney_right", Role.CRITICAL, True, "kidney_right kidney_cyst_right"),
    ("adrenal_gland_left", Role.CRITICAL, True, ""),
    ("adrenal_gland_right", Role.CRITICAL, True, ""),
    ("prostate", Role.CRITICAL, True, ""),
    ("thyroid_gland", Role.CRITICAL, True, ""),
    ("breast", Role.ALLOWED, True, ""),
    ("lung_left", Role.LUNG, True, "lung_left lung_upper_lobe_left lung_lower_lobe_left"),
    (
        "lung_right", Role.LUNG, True,
        "lung_right lung_upper_lobe_right lung_middle_lobe_right lung_lower_lobe_right",
    ),
    ("lungs", Role.LUNG, True, "lung lungs"),
    ("gallbladder", Role.CRITICAL, False, ""),
    ("urinary_bladder", Role.CRITICAL, False, ""),
    ("spinal_cord", Role.CRITICAL, False, ""),
    ("brain", Role.CRITICAL, False, ""),
    (
        "heart", Role.CRITICAL, False,
        "heart heart_myocardium heart_atrium_left heart_atrium_right heart_ventricle_left heart_ventricle_right "
        "atrial_appendage_left coronary_arteries pericardial_effusion",
    ),
    ("stomach", Role.BOWEL, False, ""),
    ("duodenum", Role.BOWEL, False, ""),
    ("small_bowel", Role.BOWEL, False, ""),
    ("colon", Role.BOWEL, False, ""),
    ("esophagus", Role.BOWEL, False, ""),
    ("airways", Role.AIRWAY, False, "trachea lung_trachea_bronchia larynx_air"),
    ("aorta", Role.VESSEL, False, ""),
    ("inferior_vena_cava", Role.VESSEL, False, ""),
    ("superior_vena_cava", Role.VESSEL, False, ""),
    ("portal_vein_and_splenic_vein", Role.VESSEL, False, ""),
    ("pulmonary_vessels", Role.VESSEL, False, "pulmonary_vein pulmonary_artery"),
    ("lung_vessels", Role.VESSEL, False, ""),
    ("iliac_vessels", Role.VESSEL, False, "iliac_artery_left iliac_artery_right iliac_vena_left iliac_vena_right"),
    (
        "upper_vessels", Role.VESSEL, False,
        "brachiocephalic_trunk brachiocephalic_vein_left brachiocephalic_vein_right subclavian_artery_left "
        "subclavian_artery_right common_carotid_artery_left common_carotid_artery_right "
        "internal_carotid_artery_left internal_carotid_artery_right internal_jugular_vein_left "
        "internal_jugular_vein_right",
    ),
    ("ribs", Role.BONE, False, " ".join(f"rib_{side}_{k}" for side in ("left", "right") for k in range(1, 13))),
    ("costal_cartilages", Role.BONE, False, ""),
    ("sternum", Role.BONE, False, ""),
    (
        "vertebrae", Role.BONE, False,
        "vertebrae vertebrae_body intervertebral_discs vertebrae_S1 "
        + " ".join(f"vertebrae_{letter}{k}" for letter, count in (("C", 7), ("T", 12), ("L", 5))
                   for k in range(1, count + 1)),
    ),
    ("sacrum", Role.BONE, False, ""),
    ("hips", Role.BONE, False, "hip_left hip_right"),
    ("femurs", Role.BONE, False, "femur_left femur_right"),
    ("shoulders", Role.BONE, False,
     "scapula_left scapula_right clavicula_left clavicula_right humerus_left humerus_right"),
    ("skull", Role.BONE, False, ""),
    ("hip_implant", Role.NO_GO, False, ""),
    ("body", Role.SKIN, False, "body body_trunc body_extremities"),
)  # fmt: skip

#: Why a class is left out, and the names of those that are.
_LEFT_OUT: tuple[tuple[str, str], ...] = (
    ("skin is a thin layer and no body: the class body bounds the patient", "skin"),
    (
        _MUSCLE,
        "gluteus_maximus_left gluteus_maximus_right gluteus_medius_left gluteus_medius_right gluteus_minimus_left "
        "gluteus_minimus_right autochthon_left autochthon_right iliopsoas_left iliopsoas_right skeletal_muscle",
    ),
    (_FAT, "subcutaneous_fat torso_fat intermuscular_fat"),
    ("needles pass through fluid; drain or avoid it as the operator decides", "pleural_effusion"),
    ("it is a state of the lung, which is there itself", "lung_covid_infiltrate"),
    (_HEAD, "face intracerebral_hemorrhage"),
    (
        _LIMB,
        "patella tibia fibula tarsal metatarsal phalanges_feet ulna radius carpal metacarpal phalanges_hand",
    ),
)  # fmt: skip


@cache
def known_classes() -> dict[str, KnownClass]:
    """All known classes by their names."""
    found = [
        KnownClass(name, structure, role, hosts)
        for structure, role, hosts, names in _GROUPS
        for name in (names or structure).split()
    ]
    found += [KnownClass(name, name, Role.NO_GO) for name in TUMOUR_NAMES]
    found += [
        KnownClass(name, structure, Role.VESSEL, inside="liver")
        for name, structure in (
            ("liver_vessels", "liver_vessels"),
            ("hepatic_vessel", "liver_vessels"),
            ("hepatic_veins", "hepatic_veins"),
            ("portal_vein", "portal_vein"),
        )
    ]
    found += [KnownClass(name, "", Role.ALLOWED, reason=why) for why, names in _LEFT_OUT for name in names.split()]
    return {known.name: known for known in found}


def class_of(name: str) -> KnownClass | None:
    """The class of a name, in which capitals, hyphens and the order of words do not count; None of others."""
    return known_classes().get(name) or _by_words().get(_words(name))


def nearest_names(name: str, count: int = 2) -> list[str]:
    """Known names that are spelt most alike and of no other side, nearest first; none where nothing is alike."""
    words = _words(name)
    other = [side for side, opposite in (("left", "right"), ("right", "left")) if opposite in words.split("_")]
    allowed = [key for key in _by_words() if not set(other) & set(key.split("_"))]
    return [_by_words()[key].name for key in difflib.get_close_matches(words, allowed, count, 0.5)]


def fold(name: str) -> str:
    """A name in lower case with an underscore for every space and hyphen."""
    return "_".join(name.lower().replace("-", " ").replace("_", " ").split())


def _words(name: str) -> str:
    """The words of a name in the order of the alphabet, so that the side may stand before or behind."""
    return "_".join(sorted(fold(name).split("_")))


@cache
def _by_words() -> dict[str, KnownClass]:
    return {_words(name): known for name, known in known_classes().items()}
