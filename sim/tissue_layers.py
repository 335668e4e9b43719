"""The layers of tissue along a needle's path, from where it crosses the surfaces of an anatomy.

What lies between the skin and the first structure is rarely segmented: there a body wall is assumed, skin, then
fat, then muscle before the first structure.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray
from sim.tissue_force import TissueLayer

#: Roles in which structures cover each other where they overlap; regions in space and the skin are no layers.
_PRECEDENCE = (
    Role.BONE, Role.VESSEL, Role.TARGET, Role.AIRWAY, Role.BOWEL, Role.LUNG, Role.CRITICAL, Role.ORGAN,
)  # fmt: skip
#: Tissue and membrane of a role, and of a name where the role says too little.
_BY_ROLE = {
    Role.BONE: ("bone", "bone cortex"),
    Role.VESSEL: ("blood", "vessel wall"),
    Role.TARGET: ("tumour", "tumour boundary"),
    Role.AIRWAY: ("lung", "vessel wall"),
    Role.BOWEL: ("bowel", "bowel wall"),
    Role.LUNG: ("lung", "pleura"),
    Role.CRITICAL: ("organ", "organ capsule"),
    Role.ORGAN: ("organ", "organ capsule"),
}
_BY_NAME = {
    "liver": ("liver", "liver capsule"),
    "kidney": ("kidney", "kidney capsule"),
    "lung": ("lung", "pleura"),
    "bowel": ("bowel", "bowel wall"),
    "colon": ("bowel", "bowel wall"),
    "stomach": ("bowel", "bowel wall"),
    "muscle": ("muscle", "muscle fascia"),
    "fat": ("fat", ""),
}
#: Stretches shorter than this are rounding where two surfaces meet.
_SHORTEST_MM = 1e-3


@dataclass(frozen=True, slots=True)
class BodyWall:
    """What is assumed between the skin and the first structure.

    Attributes:
        skin_mm: thickness of the skin; 2 mm is an assumption in the range of abdominal skin.
        muscle_mm: muscle before the first structure, where there is room for it; 10 mm is an assumption.
        nicked: True where the skin has been cut before, as is usual for ablation needles: it has no puncture.
    """

    skin_mm: float = 2.0
    muscle_mm: float = 10.0
    nicked: bool = True

    def __post_init__(self) -> None:
        for name in ("skin_mm", "muscle_mm"):
            if not 0.0 < getattr(self, name) <= 100.0:
                raise OptionError(
                    f"{name} of the body wall must lie above 0 and up to 100, not {getattr(self, name):g}"
                )


def layers_along(
    queries: AnatomyQueries,
    entry_mm: ArrayLike,
    tip_mm: ArrayLike,
    *,
    beyond_mm: float = 30.0,
    wall: BodyWall | None = None,
) -> tuple[TissueLayer, ...]:
    """The layers that a straight needle meets, in the order in which it meets them.

    Where structures overlap the rarer tissue counts: bone, vessel, target, airway, bowel, lung, organs. Whoever
    passes a surface punctures the membrane of its structure, inward and outward alike; where several surfaces
    coincide, that of the structure which counts first.

    Args:
        queries: the anatomy, at the moment that the depths are to belong to.
        entry_mm: (3,) where the needle enters, patient LPS.
        tip_mm: (3,) planned tip, patient LPS.
        beyond_mm: how far behind the tip layers are still looked for; a needle may be pushed too deep.
        wall: what is assumed before the first structure.

    Returns:
        Layers by depth behind the entry, in metres; the first begins at 0.

    Raises:
        GeometryError: entry and tip are the same point or not finite.
        OptionError: ``beyond_mm`` is negative.
    """
    entry, tip = np.asarray(entry_mm, dtype=np.float64), np.asarray(tip_mm, dtype=np.float64)
    length = float(np.linalg.norm(tip - entry)) if entry.shape == tip.shape == (3,) else 0.0
    if not (np.isfinite(length) and length > 0.0):
        raise GeometryError("the layers along a needle need two different points of three finite numbers")
    if not 0.0 <= beyond_mm < np.inf:
        raise OptionError(f"layers behind the tip cannot be looked for over {beyond_mm:g} mm: choose 0 or more")
    whole = length + beyond_mm
    end = entry + (tip - entry) * (whole / length)
    chosen = wall or BodyWall()
    surfaces = [s for role in _PRECEDENCE for s in queries.anatomy.with_role(role)]
    # For each structure the depths at which the path passes its surface; inside between the odd and the even ones.
    inside_first = [bool(queries.tree(s).contains(entry[None])[0]) for s in surfaces]
    passes = [_passes(queries, s, entry, end) * whole for s in surfaces]
    first = min(
        (
            0.0 if within else float(p[0])
            for within, p in zip(inside_first, passes, strict=True)
            if within or len(p)
        ),
        default=np.inf,
    )
    layers = _body_wall(chosen, first)
    edges = np.unique(np.concatenate([[0.0], *passes, [whole]]))
    for start, stop in pairwise(edges):
        if stop - start < _SHORTEST_MM or stop <= first:
            continue
        middle = 0.5 * (start + stop)
        at = next(
            (k for k, depths in enumerate(passes) if inside_first[k] ^ bool(np.searchsorted(depths, middle) % 2)),
            None,
        )
        tissue, name = ("fat", "") if at is None else (_kind(surfaces[at])[0], surfaces[at].name)
        crossed = next((k for k, depths in enumerate(passes) if _near(depths, float(start))), None)
        membrane = "" if crossed is None else _kind(surfaces[crossed])[1]
        if layers and layers[-1].tissue == tissue and layers[-1].structure == name:
            continue  # a surface that lies within what counts more
        layers.append(TissueLayer(float(start) * 1e-3, tissue, membrane, name))
    return tuple(layers)


def _near(depths: FloatArray, depth: float) -> bool:
    return bool(len(depths)) and float(np.abs(depths - depth).min()) < _SHORTEST_MM


def _passes(queries: AnatomyQueries, surface: StructureSurface, start: FloatArray, end: FloatArray) -> FloatArray:
    """(k,) shares of the way at which the path passes a surface, ascending."""
    found = queries.tree(surface).crossings(start[None], end[None]).parameter[0]
    return np.asarray(found[np.isfinite(found)])


def _kind(surface: StructureSurface) -> tuple[str, str]:
    """Tissue and membrane of a structure: by its name for organs, by its role for the rest."""
    if surface.role in (Role.ORGAN, Role.CRITICAL, Role.BOWEL):
        name = surface.name.lower()
        for word, kind in _BY_NAME.items():
            if word in name:
                return kind
    return _BY_ROLE[surface.role]


def _body_wall(wall: BodyWall, thickness_mm: float) -> list[TissueLayer]:
    """Skin, fat and muscle over the given thickness; thinner ones leave out the fat, then the muscle.

    Where no structure follows (infinite thickness) nobody knows where muscle is: it is left out.
    """
    if thickness_mm <= 0.0:
        return []
    layers = [TissueLayer(0.0, "skin", "" if wall.nicked else "skin surface")]
    muscle = max(wall.skin_mm, thickness_mm - wall.muscle_mm)
    if muscle > wall.skin_mm:
        layers.append(TissueLayer(wall.skin_mm * 1e-3, "fat"))
    if thickness_mm > muscle:
        layers.append(TissueLayer(muscle * 1e-3, "muscle", "muscle fascia"))
    return layers
