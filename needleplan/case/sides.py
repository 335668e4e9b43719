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

#: The first lies on the side of the lower coordinate (right, front, foot) of the second, by axis of patient LPS.
#: Unpaired organs change sides with the situs, the two of a pair never do.
_PAIRED = tuple(
    (f"{name}_right", f"{name}_left")
    for name in (
        "kidney",
        "lung",
        "lung_lower_lobe",
        "adrenal_gland",
        "hip",
        "femur",
        "scapula",
        "rib_7",
        "autochthon",
    )
)
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
    for axis, pairs in enumerate(((*_PAIRED, *unpaired), _FRONT, _FOOT)):
        known = [(a, b) for a, b in pairs if a in centres and b in centres]
        gaps = {pair: float(centres[pair[1]][axis] - centres[pair[0]][axis]) for pair in known}
        wrong = [pair for pair, gap in gaps.items() if gap < -UNDECIDED_MM]
        right = [pair for pair, gap in gaps.items() if gap > UNDECIDED_MM]
        if wrong:
            findings.append(_finding(axis, wrong, right))
    return findings


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


def _finding(axis: int, wrong: list[tuple[str, str]], right: list[tuple[str, str]]) -> Finding:
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
    mirrored = len(wrong) > len(right)
    return Finding(
        Severity.REFUSED if mirrored else Severity.WARNING,
        "mirrored" if mirrored else "sides-doubtful",
        "",
        said + count,
        "correct the frame of the files or the names of the sides"
        + ('; a patient whose organs are mirrored by nature needs situs = "inversus"' if axis == 0 else ""),
    )
