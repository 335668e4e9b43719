"""Which organ lies on which side of which: what finds a whole case that is mirrored or turned over.

Checks that compare structures with each other see nothing wrong in a case that is mirrored as a whole. Only what
anatomy itself says of left and right, front and back, head and foot does. Names are those of automatic
segmentation (``needleplan.case.segmentator_classes``); a case that uses others is not judged.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.case.model import Finding, Severity, Structure
from needleplan.case.segmentator_classes import fold
from needleplan.case.solids import sample_points
from needleplan.frames import FloatArray
from needleplan.grid import VoxelMask


class Situs(StrEnum):
    """On which side the unpaired organs of the trunk lie."""

    SOLITUS = "solitus"  #: as in nearly everybody
    INVERSUS = "inversus"  #: mirrored, in about one of 10 000


#: Two centres nearer than this along an axis say nothing about their order.
UNDECIDED_MM = 8.0
_SAMPLES = 2000

#: Structures that there are two of, by name without the side.
_TWICE = (
    "kidney", "lung", "lung_upper_lobe", "lung_lower_lobe", "adrenal_gland", "hip", "femur", "scapula", "clavicula",
    "humerus", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "iliopsoas", "autochthon",
    *(f"rib_{number}" for number in range(1, 13)),
)  # fmt: skip

#: The first lies on the side of the lower coordinate (right, front, foot) of the second, by axis of patient LPS.
#: Unpaired organs change sides with the situs, the two of a pair never do.
_PAIRED = tuple((f"{name}_right", f"{name}_left") for name in _TWICE)
#: What lies in the middle of everybody, the best guide first: the outline of a body may be cut or hold an arm.
_MIDDLE = ("vertebrae", "spinal_cord", "sacrum", "sternum", "body")
_UNPAIRED = (
    ("liver", "spleen"),
    ("liver", "stomach"),
    ("gallbladder", "spleen"),
    ("gallbladder", "stomach"),
    ("inferior_vena_cava", "spleen"),
    ("liver", "heart"),
)
_FRONT = tuple(
    (front, back)
    for front in ("liver", "heart", "stomach", "gallbladder", "urinary_bladder")
    for back in ("vertebrae", "spinal_cord")
)
_FOOT = (
    ("liver", "heart"),
    ("urinary_bladder", "liver"),
    ("liver", "lung_left"),
    ("liver", "lung_right"),
    ("kidney_left", "heart"),
    ("kidney_right", "heart"),
    ("urinary_bladder", "kidney_left"),
    ("urinary_bladder", "kidney_right"),
)
_AXES = (("right", "left"), ("in front", "behind"), ("footwards", "headwards"))


def check_sides(structures: Sequence[Structure], situs: Situs = Situs.SOLITUS) -> list[Finding]:
    """A case whose organs lie on the wrong sides of each other is refused, one with a single doubt is warned of.

    A left and a right of one organ that are exchanged are refused as well, since nature never exchanges them. A
    single organ on the other side of the patient's middle than its name says is a doubt: some kidneys lie so.

    Args:
        structures: those of the case.
        situs: on which side the unpaired organs are stated to lie.

    Returns:
        Nothing where all known pairs lie as they should, or where none is known.
    """
    return check_centres({s.name: centre_mm(s.geometry) for s in structures}, situs)


def check_centres(centres_mm: Mapping[str, FloatArray], situs: Situs = Situs.SOLITUS) -> list[Finding]:
    """As ``check_sides``, from the (3,) centre in patient LPS mm of each named structure."""
    centres = {_usual(name): np.asarray(centre) for name, centre in centres_mm.items()}
    findings = []
    unpaired = _UNPAIRED if situs is Situs.SOLITUS else tuple((b, a) for a, b in _UNPAIRED)
    middle = _middle(centres)
    beside: tuple[tuple[str, str], ...] = ()
    if middle is not None:
        centres.setdefault(*middle)
        name = middle[0]
        beside = (*((f"{organ}_right", name) for organ in _TWICE), *((name, f"{organ}_left") for organ in _TWICE))
    for axis, pairs in enumerate(((*_PAIRED, *beside, *unpaired), _FRONT, _FOOT)):
        known = [(a, b) for a, b in pairs if a in centres and b in centres]
        gaps = {pair: float(centres[pair[1]][axis] - centres[pair[0]][axis]) for pair in known}
        wrong = [pair for pair, gap in gaps.items() if gap < -UNDECIDED_MM]
        right = [pair for pair, gap in gaps.items() if gap > UNDECIDED_MM]
        if wrong:
            findings.append(_finding(axis, wrong, right, None if middle is None else middle[0]))
    return findings


def _middle(centres: Mapping[str, FloatArray]) -> tuple[str, FloatArray] | None:
    """Name and centre of what lies in the patient's middle, or between unpaired organs; None if unknown."""
    for name in _MIDDLE:
        if name in centres:
            return name, centres[name]
    for other in ("spleen", "stomach"):
        if "liver" in centres and other in centres:
            return f"the middle between liver and {other}", (centres["liver"] + centres[other]) / 2.0
    return None


def centre_mm(geometry: VoxelMask | SurfaceMesh) -> FloatArray:
    """(3,) middle of evenly spread points of a structure, in patient LPS mm."""
    return np.asarray(sample_points(geometry, _SAMPLES).mean(axis=0))


def _usual(name: str) -> str:
    """The class name that a structure's name stands for, with sides behind and ribs by side and number."""
    words = fold(name).split("_")
    for side in ("left", "right"):
        if side in words and len(words) > 1:
            words.remove(side)
            words.append(side)
    return {"vena_cava": "inferior_vena_cava", "spine": "vertebrae"}.get("_".join(words), "_".join(words))


def _finding(axis: int, wrong: list[tuple[str, str]], right: list[tuple[str, str]], middle: str | None) -> Finding:
    low, high = _AXES[axis]
    first, second = wrong[0]
    said = (
        f"{first} lies {high} of {second}, where it belongs {low}"
        if axis == 0
        else (
            f"{first} lies {high} of {second}, which is upside down"
            if axis == 2
            else f"{first} lies {high} {second}, where it belongs {low}"
        )
    )
    count = f" ({len(wrong)} of {len(wrong) + len(right)} pairs of structures lie so)"
    exchanged = any(pair in _PAIRED for pair in wrong)
    # One structure alone says nothing of the whole case.
    alone = axis == 0 and len(wrong) == 1 and middle in wrong[0]
    mirrored = len(wrong) > len(right) and not alone
    code = "mirrored" if mirrored else "sides-exchanged" if exchanged else "sides-doubtful"
    return Finding(
        Severity.WARNING if code == "sides-doubtful" else Severity.REFUSED,
        code,
        "",
        said + count,
        "correct the frame of the files or the names of the sides"
        + ('; a patient whose organs are mirrored by nature needs situs = "inversus"' if axis == 0 else ""),
    )
