"""Rows of the margin after an ablation: time at 256³ and errors on balls, beside the method of QAM.

QAM's method is that of Sandu et al., Front Oncol 2021;11:623098 (github.com/artorg-unibe-ch/qam), written anew
here from its definition because that library is under another licence. Border voxels are those of a mask that its
erosion by a cross of 6 neighbours takes away; the margin at a border voxel of the tumour is the Euclidean distance,
by SciPy's transform, to the nearest border voxel of the zone, negative outside the zone. Both masks are cropped to
their common box before, and the distances from the zone to the tumour are computed too, as that library does. Ours
gives volumes, what was left and where as well.
"""

from collections.abc import Sequence

import numpy as np
from clock import Clock, print_rows, print_times
from numpy.typing import NDArray
from rows import Row

from needleplan.confirmation.alignment import same_frame
from needleplan.confirmation.closed_body import ClosedBody
from needleplan.confirmation.confirm import Confirmation, confirm
from needleplan.confirmation.margin_map import margin_map
from needleplan.confirmation.options import ConfirmationOptions
from needleplan.confirmation.subvoxel_surface import subvoxel_surface
from needleplan.frames import FloatArray
from needleplan.grid import Grid, VoxelMask

LIMIT, LIMIT_S = "limit set by this project", 1.0
QAM = "QAM's method (border voxels, SciPy)"
#: Voxels along each side, and their edge in mm.
SIDE, EDGE_MM = 256, 0.8
#: Radii of tumour and zone and the distance of their middles, in mm.
USUAL, LARGE = (20.0, 29.0, 3.0), (40.0, 60.0, 5.0)
#: Balls on which errors are measured, and the edges of their voxels.
BALLS, EDGES = 24, ((1.0, 1.0, 1.0), (0.8, 0.8, 2.5))


def qam_margins(
    tumour: NDArray[np.bool_], zone: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[FloatArray, FloatArray]:
    """Margins at the border voxels of the tumour, and distances at those of the zone."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    spans = []
    both = tumour | zone
    for axis in range(3):
        used = np.flatnonzero(both.any(axis=tuple(k for k in range(3) if k != axis)))
        spans.append(slice(used[0], used[-1] + 1))
    # The library leaves a layer of empty voxels behind the box.
    masks = [np.pad(mask[tuple(spans)], [(0, 1)] * 3) for mask in (tumour, zone)]
    borders = [mask ^ binary_erosion(mask) for mask in masks]
    distances = [
        distance_transform_edt(~border, sampling=spacing_mm) * np.where(mask, 1.0, -1.0)
        for mask, border in zip(masks, borders, strict=True)
    ]
    return distances[1][borders[0]], distances[0][borders[1]]


def ball_in(grid: Grid, middle_mm: FloatArray, radius_mm: float) -> NDArray[np.bool_]:
    """The voxels of a ball, slab by slab."""
    inside = np.zeros(grid.shape, dtype=np.bool_)
    plane = np.indices(grid.shape[1:]).reshape(2, -1).T
    for i in range(grid.shape[0]):
        points = grid.to_patient(np.column_stack([np.full(len(plane), i), plane]))
        inside[i] = (((points - middle_mm) ** 2).sum(axis=1) < radius_mm**2).reshape(grid.shape[1:])
    return inside


def _volumes(radii: tuple[float, float, float]) -> tuple[Grid, NDArray[np.bool_], NDArray[np.bool_]]:
    tumour_mm, zone_mm, apart_mm = radii
    grid = Grid((SIDE, SIDE, SIDE), np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0]))
    middle = np.full(3, 0.5 * SIDE * EDGE_MM) + np.array([0.11, -0.23, 0.31])
    way = np.array([2.0, -1.0, 2.0]) / 3.0
    return grid, ball_in(grid, middle, tumour_mm), ball_in(grid, middle + apart_mm * way, zone_mm)


def time_rows(repeats: int, quick: bool) -> list[Row]:
    """Times of the whole answer, from two arrays of 256³, in turn with QAM's method."""
    clock = Clock("margins of 256³")
    rows = []
    for name, radii in (("margin_256", USUAL), ("margin_256_large", LARGE)):
        if quick and radii is LARGE:
            continue
        grid, tumour, zone = _volumes(radii)

        def ours(
            grid: Grid = grid, tumour: NDArray[np.bool_] = tumour, zone: NDArray[np.bool_] = zone
        ) -> Confirmation:
            return confirm(VoxelMask.cropped(grid, tumour), VoxelMask.cropped(grid, zone), same_frame())

        def theirs(
            tumour: NDArray[np.bool_] = tumour, zone: NDArray[np.bool_] = zone
        ) -> tuple[FloatArray, FloatArray]:
            return qam_margins(tumour, zone, (EDGE_MM,) * 3)

        # The first run loads libraries and kernels.
        ours()
        for _ in range(repeats):
            found = clock(name, ours)
            margins, _ = clock(f"{name}, {QAM}", theirs)
        truth = radii[1] - radii[0] - radii[2]
        seconds, peer = clock.median_s(name), clock.median_s(f"{name}, {QAM}")
        if radii is USUAL:
            rows.append(Row.against(f"{name}_s", seconds, "s", LIMIT, LIMIT_S))
            rows.append(Row.against(f"{name}_s beside QAM", seconds, "s", QAM, peer))
        else:
            rows.append(Row.against(f"{name}_s", seconds, "s", QAM, peer))
        rows.append(
            Row.against(
                f"{name}: error of the least margin",
                abs(found.margins.least_mm - truth),
                "mm",
                QAM,
                abs(float(margins.min()) - truth),
            )
        )
    print_times([clock])
    return rows


def error_rows(quick: bool) -> list[Row]:
    """Errors of least and mean margin over balls of many sizes and places, both masks on one grid as QAM asks."""
    rows = []
    rng = np.random.default_rng(11)
    for spacing in EDGES:
        least, mean = [], []
        for _ in range(6 if quick else BALLS):
            r, gap, d = rng.uniform(6, 16), rng.uniform(2, 9), rng.uniform(0.5, 5)
            way = rng.normal(size=3)
            way /= np.linalg.norm(way)
            shape = tuple(int(2 * (r + gap + d + 4) / one) + 1 for one in spacing)
            matrix = np.diag([*spacing, 1.0])
            grid = Grid((shape[0], shape[1], shape[2]), matrix)
            middle = grid.to_patient((np.array(shape) - 1) / 2 + rng.uniform(-0.5, 0.5, 3))
            masks = ball_in(grid, middle, r), ball_in(grid, middle + d * way, r + gap)
            bodies = [ClosedBody(subvoxel_surface(VoxelMask.cropped(grid, mask)).mesh) for mask in masks]
            ours = margin_map(bodies[0], bodies[1], None, ConfirmationOptions())
            theirs = qam_margins(*masks, spacing)[0]
            truth = gap - d, r + gap - ((r + d) ** 3 - abs(r - d) ** 3) / (6 * r * d)
            least.append((ours.least_mm - truth[0], float(theirs.min()) - truth[0]))
            mean.append((ours.mean_mm - truth[1], float(theirs.mean()) - truth[1]))
        voxel = " x ".join(f"{one:g}" for one in spacing)
        for words, pairs in (("least", least), ("mean", mean)):
            errors = np.array(pairs)
            bias, worst = np.abs(errors.mean(axis=0)), np.abs(errors).max(axis=0)
            rows.append(Row.against(f"balls, {voxel} mm: bias of the {words} margin", bias[0], "mm", QAM, bias[1]))
            rows.append(
                Row.against(f"balls, {voxel} mm: worst error of the {words} margin", worst[0], "mm", QAM, worst[1])
            )
    return rows


def margin_rows(repeats: int = 5, quick: bool = False) -> list[Row]:
    """All rows of the margin; ``quick`` for tests."""
    return [*time_rows(1 if quick else repeats, quick), *error_rows(quick)]


if __name__ == "__main__":
    print_rows(margin_rows())
