"""Which organ a new case's target lies in, what else it touches, and the body that holds them all."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from needleplan.app.new_case_names import quoted
from needleplan.app.new_case_sources import LabelledClass
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


def with_whole_body(
    structures: Sequence[NewStructure], classes: Sequence[LabelledClass], leave_out: Collection[str]
) -> tuple[list[NewStructure], list[str]]:
    """The structures, with everything that a map of exclusive labels takes from the body given back to it.

    Where no voxel may belong to two classes, the body is only what no other class claims. All classes of the same
    map are part of the patient, but those that were asked to be left out, which may be a table or a drape; of these
    the body keeps what it surrounds.

    Args:
        structures: all but the target.
        classes: all classes of the segmentation.
        leave_out: names of those that were asked to be left out.

    Returns:
        The structures, and what there is to say of it.
    """
    layers = {each.name: each.layer for each in classes}
    changed, notes = [], []
    for structure in structures:
        shared = {layers[name] for name in structure.classes if layers.get(name)}
        others = [
            each
            for each in classes
            if each.layer in shared and each.mask is not None and each.name not in structure.classes
        ]
        if structure.role is not Role.SKIN or not others:
            changed.append(structure)
            continue
        masks = [each.mask for each in others if each.name not in leave_out and each.mask is not None]
        apart = [each.mask for each in others if each.name in leave_out and each.mask is not None]
        whole = _with_enclosed(unite([structure.mask, *masks]), apart)
        changed.append(replace(structure, mask=whole))
        notes.append(
            f"The map gives each voxel to one class alone, so {structure.name} counts the other "
            f"{len(masks)} classes of that map as its own."
        )
    return changed, notes


def _with_enclosed(body: VoxelMask, parts: Sequence[VoxelMask]) -> VoxelMask:
    """The body with what it surrounds of parts on its voxels, slice by slice, as the image's edge opens some."""
    from scipy.ndimage import binary_fill_holes

    if not parts:
        return body
    inside = body.inside.copy()
    along = int(np.argmax(np.abs(body.grid.T_PV[2, :3]) / body.grid.spacing_mm))
    for part in parts:
        start = np.rint(body.grid.to_index(part.grid.to_patient((0, 0, 0)))).astype(int)
        index = np.argwhere(part.inside) + start
        index = index[((index >= 0) & (index < body.grid.shape)).all(axis=1)]
        for number in np.unique(index[:, along]):
            filled = binary_fill_holes(np.take(body.inside, number, axis=along))
            row, column = np.delete(index[index[:, along] == number], along, axis=1).T
            np.moveaxis(inside, along, 0)[number, row, column] |= filled[row, column]
    return VoxelMask(body.grid, inside, body.cut_sides)


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
        raise OptionError(
            f"--inside-of: there is no structure {quoted(chosen)}; there are {', '.join(sorted(names))}"
        )
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
