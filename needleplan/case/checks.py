"""The gate that every structure passes before anything is planned: sizes, edges of the image, who lies in whom."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.case.model import Finding, Role, Severity, Structure
from needleplan.case.solids import bounds_mm, contains, interior_points, sample_points, shell_points
from needleplan.frames import FloatArray
from needleplan.grid import Grid, VoxelMask

#: Longest side of the bounding box that a structure of each role can have in a human, least and greatest, in mm.
#: They are wide: adult organs (ICRP Publication 89, reference sizes) lie well inside, a tumour of 2 mm and a body
#: of 2.2 m are allowed; what they catch is a factor of 10 or 1000 between units.
PLAUSIBLE_SIDE_MM: dict[Role, tuple[float, float]] = {
    Role.TARGET: (2.0, 300.0),
    Role.ORGAN: (20.0, 600.0),
    Role.VESSEL: (3.0, 1500.0),
    Role.AIRWAY: (3.0, 600.0),
    Role.BONE: (5.0, 2200.0),
    Role.LUNG: (30.0, 600.0),
    Role.BOWEL: (10.0, 800.0),
    Role.CRITICAL: (2.0, 800.0),
    Role.SKIN: (60.0, 2200.0),
    Role.ENTRY_REGION: (3.0, 2200.0),
    Role.NO_GO: (1.0, 2200.0),
    Role.ALLOWED: (1.0, 2200.0),
}
#: Share of the target inside its organ below which it is refused, and below which a warning is given.
TARGET_INSIDE_REFUSED = 0.5
TARGET_INSIDE_WARNED = 0.99
#: Least share of the target's surface that must have organ tissue beyond it. An organ that lists the target's
#: labels holds it wherever it lies, so the tissue around it decides; an exophytic tumour keeps 10 % and more.
TARGET_EMBEDDED = 0.05
#: The same for the share of any structure inside the skin, or inside the image.
BODY_INSIDE_REFUSED = 0.5
BODY_INSIDE_WARNED = 0.97
#: Slice of the target at the edge of the image over its largest parallel slice, from which the target is refused:
#: of a ball cut there, a sixth of the volume is missing.
TARGET_CUT_REFUSED = 0.75
#: Gap between a structure and all others above which it is refused, or a warning given, where the case has no
#: skin to compare with. The two kidneys, the widest pair of neighbours, leave 50 to 90 mm between them.
APART_REFUSED_MM = 120.0
APART_WARNED_MM = 90.0
#: Masks are thinned to about so many voxels before pieces and cavities are counted for a note.
_COUNTED_VOXELS = 8_000_000
_SAMPLES = 4000
_MESH_SAMPLES = 600


@dataclass(frozen=True, slots=True)
class _Say:
    """Makes the findings of one structure."""

    structure: str

    def __call__(self, severity: Severity, code: str, message: str, remedy: str) -> Finding:
        text = f"{self.structure}: {message}" if self.structure else message
        return Finding(severity, code, self.structure, text, remedy)


def check_size(structure: Structure) -> list[Finding]:
    """A structure whose longest side is impossible for its role is refused, with the unit that would fit."""
    low, high = bounds_mm(structure.geometry)
    longest = float((high - low).max())
    least, greatest = PLAUSIBLE_SIDE_MM[structure.role]
    if least <= longest <= greatest:
        return []
    hint = ""
    for factor, meaning in ((1000.0, "metres read as millimetres"), (0.001, "millimetres read as metres")):
        if least <= longest * factor <= greatest:
            hint = f", which looks like {meaning}"
    return [
        _Say(structure.name)(
            Severity.REFUSED,
            "implausible-size",
            f"its longest side is {longest:.3g} mm{hint}; the role {structure.role} allows {least:g} to "
            f"{greatest:g} mm",
            "state the unit that the file is really in",
        )
    ]


def check_pieces(structure: Structure) -> list[Finding]:
    """Stray voxels and several pieces of the target, the organs and the skin; cavities of the organs."""
    mask = structure.geometry
    if isinstance(mask, SurfaceMesh) or structure.role not in (Role.TARGET, Role.ORGAN, Role.SKIN):
        return []
    from scipy.ndimage import label

    say = _Say(structure.name)
    step = max(1, int(np.ceil((mask.inside.size / _COUNTED_VOXELS) ** (1 / 3))))
    inside = mask.inside[::step, ::step, ::step]
    findings = []
    numbered, count = label(inside, np.ones((3, 3, 3)))
    if count > 1:
        sizes = np.bincount(numbered.ravel())[1:]
        share = 100.0 * sizes.max() / sizes.sum()
        severity = Severity.WARNING if structure.role is Role.TARGET or share < 90 else Severity.NOTE
        findings.append(
            say(
                severity,
                "pieces",
                f"it has about {count} separate pieces, of which the largest holds {share:.2f} % of the volume",
                "take one by component = { rank = 1 }, if the others are no part of it",
            )
        )
    if structure.role is Role.ORGAN:
        outside, _ = label(~np.pad(inside, 1))
        cavity = float(np.count_nonzero(outside > 1)) * step**3 * mask.grid.voxel_volume_mm3
        share = cavity / mask.volume_mm3
        if share > 0.001:
            findings.append(
                say(
                    Severity.WARNING if share > 0.01 else Severity.NOTE,
                    "cavities",
                    f"it encloses cavities of about {cavity / 1000:.3g} ml ({100 * share:.1f} % of it)",
                    "list the labels of the vessels and tumours inside it among its own",
                )
            )
    return findings


def check_view(structures: Sequence[Structure]) -> list[Finding]:
    """What the edge of the image cuts off: of the target by its share, of others in one note."""
    findings = []
    touching = []
    for structure in structures:
        mask = structure.geometry
        if not isinstance(mask, VoxelMask) or not any(any(sides) for sides in mask.cut_sides):
            continue
        if structure.role is not Role.TARGET:
            touching.append(structure.name)
            continue
        share = cut_share(mask)
        severity = Severity.REFUSED if share >= TARGET_CUT_REFUSED else Severity.WARNING
        findings.append(
            _Say(structure.name)(
                severity,
                "target-cut",
                f"the edge of the image cuts the target: the slice there is {100 * share:.0f} % of its largest "
                "parallel slice, so a part of the tumour is missing",
                "use an image that holds the whole target",
            )
        )
    if touching:
        findings.append(
            _Say("")(
                Severity.NOTE,
                "touches-edge",
                f"the edge of the image cuts {', '.join(touching)}: their surfaces there are no anatomy",
                "nothing, if the planned paths stay away from that edge",
            )
        )
    return findings


def cut_share(mask: VoxelMask) -> float:
    """Largest ratio of a cut slice to the largest slice parallel to it; 0 where nothing is cut."""
    shares = [0.0]
    for axis in range(3):
        areas = mask.inside.sum(axis=tuple(k for k in range(3) if k != axis))
        for side, slice_area in ((0, areas[0]), (1, areas[-1])):
            if mask.cut_sides[axis][side]:
                shares.append(float(slice_area / areas.max()))
    return max(shares)


def check_target(target: Structure, organs: Sequence[Structure]) -> list[Finding]:
    """The target must lie in the organs, or in the one that the manifest names."""
    say = _Say(target.name)
    findings = []
    if isinstance(target.geometry, VoxelMask) and np.count_nonzero(target.geometry.inside) < 8:
        findings.append(
            say(
                Severity.WARNING,
                "few-voxels",
                f"the target has only {np.count_nonzero(target.geometry.inside)} voxels, so its shape is unknown",
                "segment it on a finer image",
            )
        )
    if not organs:
        findings.append(
            say(Severity.NOTE, "no-organ", "the case has no organ that the target lies in", "add one, if there is")
        )
        return findings
    few = any(isinstance(s.geometry, SurfaceMesh) for s in (target, *organs))
    names = ", ".join(organ.name for organ in organs)
    share = _share_in(organs, interior_points(target.geometry, _MESH_SAMPLES if few else 5 * _SAMPLES))
    around = _share_in(organs, shell_points(target.geometry, _MESH_SAMPLES if few else _SAMPLES))
    if share >= TARGET_INSIDE_REFUSED and around < TARGET_EMBEDDED:
        findings.append(
            say(
                Severity.REFUSED,
                "target-apart",
                f"only {100 * around:.0f} % of the target's surface is surrounded by {names}, which holds the "
                "target but lies elsewhere",
                "correct the frame or the labels of the one that is misplaced",
            )
        )
    if share < TARGET_INSIDE_WARNED:
        refused = share < TARGET_INSIDE_REFUSED
        findings.append(
            say(
                Severity.REFUSED if refused else Severity.WARNING,
                "target-outside" if refused else "target-partly-outside",
                f"only {100 * share:.0f} % of the target lies inside {names}",
                "correct the frame of the one that is misplaced, or list the target's labels among the organ's "
                "where the organ's segmentation leaves the tumour out",
            )
        )
    return findings


def _share_in(organs: Sequence[Structure], points: FloatArray) -> float:
    """Share of the points that lie in any of the organs."""
    inside = np.zeros(len(points), dtype=bool)
    for organ in organs:
        inside |= contains(organ.geometry, points)
    return float(inside.mean())


def check_places(structures: Sequence[Structure], images: Sequence[Grid]) -> list[Finding]:
    """Every structure must lie inside the skin, inside the image, and near the others."""
    findings = []
    skin = next((s for s in structures if s.role is Role.SKIN), None)
    boxes = {s.name: bounds_mm(s.geometry) for s in structures}
    for structure in structures:
        say = _Say(structure.name)
        if skin is not None and structure is not skin and structure.role is not Role.ENTRY_REGION:
            few = isinstance(skin.geometry, SurfaceMesh)
            points = sample_points(structure.geometry, _MESH_SAMPLES if few else _SAMPLES)
            findings += _place(
                say,
                float(contains(skin.geometry, points).mean()),
                "outside-skin",
                f"inside {skin.name}",
                "correct the frame of the one that is misplaced or mirrored, and let the skin's labels include "
                "all that lies in the body",
            )
        if images and isinstance(structure.geometry, SurfaceMesh):
            points = sample_points(structure.geometry, _SAMPLES)
            seen = np.zeros(len(points), dtype=bool)
            for grid in images:
                index = grid.to_index(points)
                seen |= ((index >= -1.0) & (index <= np.asarray(grid.shape))).all(axis=1)
            findings += _place(
                say,
                float(seen.mean()),
                "outside-image",
                "inside the image that the other structures come from",
                "correct the frame or the unit of the surface",
            )
        others = [box for name, box in boxes.items() if name != structure.name]
        if skin is None and others:
            gap = _gap_mm(boxes[structure.name], others)
            if gap > APART_WARNED_MM:
                refused = gap > APART_REFUSED_MM
                findings.append(
                    say(
                        Severity.REFUSED if refused else Severity.WARNING,
                        "apart",
                        f"it lies {gap:.0f} mm away from all other structures",
                        "correct its frame, which is misplaced or mirrored",
                    )
                )
    return findings


def _place(say: _Say, share: float, code: str, where: str, remedy: str) -> list[Finding]:
    if share >= BODY_INSIDE_WARNED:
        return []
    severity = Severity.REFUSED if share < BODY_INSIDE_REFUSED else Severity.WARNING
    return [say(severity, code, f"only {100 * share:.0f} % of it lies {where}", remedy)]


def _gap_mm(box: FloatArray, others: Sequence[FloatArray]) -> float:
    """Distance from a box to the nearest of the others; 0 where it meets one."""
    gaps = [np.linalg.norm(np.maximum(0.0, np.maximum(other[0] - box[1], box[0] - other[1]))) for other in others]
    return float(min(gaps))
