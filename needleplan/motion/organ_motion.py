"""How much each kind of structure moves for a millimetre of the liver's way: a table with its sources."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from needleplan.case.model import Role
from needleplan.errors import MotionError

#: Where a figure comes from: seen in the source named, remembered from it, or assumed.
PROVENANCES = ("READ", "RECALL", "ASSUMED")


@dataclass(frozen=True, slots=True)
class OrganMotion:
    """Motion of one kind of structure at inhalation, over that of the liver.

    For organs within the chest wall each ratio multiplies the liver's displacement along the same axis. For ribs
    and skin each multiplies the liver's way to inferior: positive is to inferior, to anterior and outward.

    Attributes:
        kind: name of the kind.
        words: words of which one must stand in the structure's name; empty where ``role`` decides.
        role: role that the row stands for where no word fits; None where words decide.
        cranial_ratio: along the cranio-caudal axis, at the caudal end of the structure.
        far_cranial_ratio: the same at the cranial end; linear between.
        anterior_ratio: along the antero-posterior axis.
        lateral_ratio: along the lateral axis.
        source: publication, or why it was assumed.
        doi_or_url: of the publication; may be empty.
        provenance: READ, RECALL or ASSUMED.
    """

    kind: str
    words: tuple[str, ...]
    role: Role | None
    cranial_ratio: float
    far_cranial_ratio: float
    anterior_ratio: float
    lateral_ratio: float
    source: str
    doi_or_url: str
    provenance: str

    def __post_init__(self) -> None:
        ratios = (self.cranial_ratio, self.far_cranial_ratio, self.anterior_ratio, self.lateral_ratio)
        if not all(-1.5 <= ratio <= 1.5 for ratio in ratios):
            raise MotionError(f"organ motion {self.kind}: every ratio must lie between -1.5 and 1.5, not {ratios}")
        if self.provenance not in PROVENANCES:
            raise MotionError(f"organ motion {self.kind}: provenance must be one of {', '.join(PROVENANCES)}")
        if not self.source or (not self.words and self.role is None):
            raise MotionError(f"organ motion {self.kind}: a row needs a source, and words or a role")


@cache
def organ_motions() -> tuple[OrganMotion, ...]:
    """All rows of the table, in its order."""
    text = files("needleplan.motion").joinpath("organ_motion.csv").read_text(encoding="utf-8")
    return tuple(
        OrganMotion(
            row["kind"], tuple(row["words"].split()), Role(row["role"]) if row["role"] else None,
            float(row["cranial_ratio"]), float(row["far_cranial_ratio"]), float(row["anterior_ratio"]),
            float(row["lateral_ratio"]), row["source"], row["doi_or_url"], row["provenance"],
        )
        for row in csv.DictReader(text.splitlines())
    )  # fmt: skip


def organ_motion(name: str, role: Role) -> OrganMotion:
    """The row for a structure: the first of which a word stands in its name, else that of its role.

    Raises:
        MotionError: nothing in the table fits, as for regions in space, which are not tissue.
    """
    lower = name.lower()
    # Only solids are known by name: a hepatic vessel is no liver, and a lesion of the kidney no kidney.
    if role in (Role.ORGAN, Role.CRITICAL, Role.BONE, Role.LUNG, Role.BOWEL):
        for row in organ_motions():
            if any(word in lower for word in row.words):
                return row
    for row in organ_motions():
        if row.role is role:
            return row
    raise MotionError(f"the table of organ motion says nothing of {name!r} of role {role}")
