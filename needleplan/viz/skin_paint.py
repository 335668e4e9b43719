"""What colour each face of the skin has in a skin map, and what the colours mean."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import Anatomy
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.skin_map import SkinMap
from needleplan.viz.palette import SKIN_BLOCKED, SKIN_OTHERS, SKIN_SCORES, readable, rgb

#: Share of the entries that the colours of the scores tell apart: few bad ones would take all the range.
_WORST_SHOWN = 0.95


@dataclass(frozen=True, slots=True)
class SkinPatch:
    """All skin of one meaning.

    Attributes:
        label: what it means.
        color: hexadecimal RGB.
        number: the number that marks it in the picture, so that it is found without its colour.
        share: of the area where an entry may be.
    """

    label: str
    color: str
    number: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class PaintedSkin:
    """A skin map carried to the faces of the entry surface.

    Attributes:
        patches: what blocks, the largest area first.
        patch: (f,) index of each face's patch; -1 where a path starts, -2 where no entry may be.
        cost: (f,) best cost about each face, from the nearest entries where a path starts.
        open_share: share of the area where an entry may be from which a path starts.
        others: what the last patch stands for, where it stands for several; else none.
        centres_mm: (f, 3) middles of the faces.
        area_vectors_mm2: (f, 3) their outward normals, as long as their areas.
    """

    patches: tuple[SkinPatch, ...]
    patch: NDArray[np.int64]
    cost: FloatArray
    open_share: float
    others: tuple[str, ...]
    centres_mm: FloatArray
    area_vectors_mm2: FloatArray


def paint_skin(anatomy: Anatomy, skin: SkinMap) -> PaintedSkin:
    """The skin map on the faces of the entry surface, each face as its nearest entry.

    Args:
        anatomy: the patient.
        skin: a skin map of it.

    Raises:
        OptionError: the map holds no entry, or lies nowhere near this surface.
    """
    from scipy.spatial import cKDTree

    if not len(skin):
        raise OptionError("the skin map holds no entry, so there is nothing to paint")
    mesh = anatomy.entry.mesh
    allowed = anatomy.entry_faces
    low, high = mesh.bounds_mm
    if (skin.entry_mm < low - 1.0).any() or (skin.entry_mm > high + 1.0).any():
        raise OptionError("the skin map belongs to another patient: its entries do not lie on this skin")
    centres, vectors = mesh.face_centres_mm, mesh.area_vectors_mm2
    nearest = cKDTree(skin.entry_mm).query(centres)[1]
    cause = np.where(allowed, skin.blocked_by[nearest], -2)
    area = np.linalg.norm(vectors, axis=1)
    total = float(area[allowed].sum())
    areas = np.array([float(area[cause == k].sum()) for k in range(len(skin.constraints))])
    order = [int(k) for k in np.argsort(-areas, kind="stable") if areas[k] > 0]
    shown = order if len(order) <= len(SKIN_BLOCKED) else order[: len(SKIN_BLOCKED) - 1]
    patch = np.where(cause >= 0, len(shown), cause)
    patches = []
    for index, k in enumerate(shown):
        patch[cause == k] = index
        patches.append(
            SkinPatch(_cause(skin.constraints[k]), SKIN_BLOCKED[index], index + 1, float(areas[k]) / total)
        )
    rest = order[len(shown) :]
    if rest:
        label = f"{len(rest)} others"
        patches.append(SkinPatch(label, SKIN_OTHERS, len(shown) + 1, float(areas[rest].sum()) / total))
    cost = np.zeros(len(mesh.faces))
    is_open = cause == -1
    if is_open.any():
        known = skin.entry_mm[skin.open]
        count = min(4, len(known))
        distance, near = cKDTree(known).query(centres[is_open], k=count)
        weight = 1.0 / np.maximum(distance.reshape(-1, count), 0.5) ** 2
        costs = skin.best_cost[skin.open][near.reshape(-1, count)]
        cost[is_open] = (weight * costs).sum(axis=1) / weight.sum(axis=1)
    return PaintedSkin(
        tuple(patches),
        patch,
        cost,
        float(area[is_open].sum()) / total,
        tuple(_cause(skin.constraints[k]) for k in rest),
        centres,
        vectors,
    )


def _cause(constraint: str) -> str:
    """A constraint as it stands in the legend: a clearance by its structure alone."""
    return readable(constraint.removeprefix("clearance to "))


def score_range(skin: SkinMap) -> tuple[float, float]:
    """Costs at the two ends of the colours; a few worse ones have the colour of the worse end."""
    if not skin.open.any():
        return 0.0, 1.0
    costs = skin.best_cost[skin.open]
    low, high = float(costs.min()), float(np.quantile(costs, _WORST_SHOWN))
    return low, max(high, low + 1e-6)


def score_colors(share: FloatArray) -> NDArray[np.uint8]:
    """(n, 3) colours at shares (n,) from 0 (best) to 1 of the range of costs, between those of the palette."""
    known = np.array([rgb(color) for color in SKIN_SCORES])
    places = np.linspace(0.0, 1.0, len(known))
    mixed = np.stack([np.interp(share, places, known[:, k]) for k in range(3)], axis=1)
    return np.asarray(np.round(255.0 * mixed), dtype=np.uint8)
