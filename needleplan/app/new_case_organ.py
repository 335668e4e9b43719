"""Which organ a new case's target lies in, and what else it touches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from needleplan.case.masks import unite
from needleplan.case.model import Role
from needleplan.case.segmentator_classes import TUMOUR_NAMES, KnownClass, fold
from needleplan.case.solids import contains, interior_points, shell_points
from needleplan.errors import CaseError, OptionError
from needleplan.grid import VoxelMask

#: A structure is taken for the organ of the target where it surrounds this share of the target's surface, or holds
#: this share of its volume.
LEAST_AROUND = 0.05
LEAST_INSIDE = 0.5
_SAMPLES = 4000


@dataclass(frozen=True, slots=True, eq=False)
class NewStructure:
    """One structure of the new case.

    Attributes:
        name: its name.
        role: its role.
        mask: its voxels.
        classes: names of the classes that it was made of.
    """

    name: str
    role: Role
    mask: VoxelMask
    classes: tuple[str, ...]


def require_apart(target: NewStructure, structures: Sequence[NewStructure]) -> None:
    """Another tumour must not be the target itself."""
    points = interior_points(target.mask, _SAMPLES)
    for structure in structures:
        if fold(structure.name) in TUMOUR_NAMES and contains(structure.mask, points).any():
            raise CaseError(
                f"the target lies in {structure.name}, which is kept clear of as another tumour: name it by "
                f"--target {structure.classes[0]}, or leave it out by --leave-out {structure.classes[0]}"
            )


def with_organ(
    target: NewStructure,
    structures: list[NewStructure],
    known: Mapping[str, KnownClass],
    chosen: str | None,
) -> tuple[list[NewStructure], list[str]]:
    """The structures with the target's organ among them, which holds the target and the vessels within it.

    Args:
        target: the target.
        structures: all others.
        known: what each of their classes means, by its name.
        chosen: name of the organ; found by where the target lies if it is None.

    Returns:
        The structures, and what there is to say of them.

    Raises:
        OptionError: there is no structure of that name.
    """
    names = [structure.name for structure in structures]
    if chosen is not None and chosen not in names:
        raise OptionError(f"--inside-of: there is no structure {chosen!r}; there are {', '.join(sorted(names))}")
    if chosen is None:
        hosts = {each.structure for each in known.values() if each.hosts_target}
        shares = {s.name: _surrounds(s.mask, target.mask) for s in structures if s.name in hosts}
        fitting = {
            name: inside + around
            for name, (inside, around) in shares.items()
            if inside >= LEAST_INSIDE or around >= LEAST_AROUND
        }
        if not fitting:
            return structures, ["The target lies in none of the organs, so the case has no organ: see --inside-of."]
        chosen = max(fitting, key=lambda name: fitting[name])
    organ = next(s for s in structures if s.name == chosen)
    within = [s for s in structures if any(known[name].inside == chosen for name in s.classes if name in known)]
    mask = unite([organ.mask, target.mask, *(s.mask for s in within)])
    made = replace(organ, role=Role.ORGAN, mask=mask)
    joined = " and ".join(["the target", *(s.name for s in within)])
    note = f"The target lies in {chosen}, which thereby is its organ and counts {joined} as its own."
    return [made if s is organ else s for s in structures], [note]


def _surrounds(organ: VoxelMask, target: VoxelMask) -> tuple[float, float]:
    """Share of the target's volume in an organ, and share of the target's surface with the organ beyond it."""
    return (
        float(contains(organ, interior_points(target, _SAMPLES)).mean()),
        float(contains(organ, shell_points(target, _SAMPLES)).mean()),
    )


def overlaps(target: NewStructure, structures: Sequence[NewStructure]) -> list[str]:
    """What is to be kept clear of and shares voxels with the target."""
    points = interior_points(target.mask, _SAMPLES)
    notes = []
    for structure in structures:
        share = float(contains(structure.mask, points).mean()) if structure.role.is_obstacle else 0.0
        if share > 0:
            notes.append(
                f"{100 * share:.1f} % of the target lies in {structure.name}, which needles must keep clear of as "
                f"{structure.role.value}."
            )
    return notes


def missing(structures: Sequence[NewStructure]) -> list[str]:
    """Roles that every trunk has something of, where the case has none."""
    roles = {structure.role for structure in structures}
    absent = [role.value for role in (Role.VESSEL, Role.BONE, Role.BOWEL) if role not in roles]
    if not absent:
        return []
    return [f"No structure has the role {' or '.join(absent)}: what was not segmented is not avoided."]
