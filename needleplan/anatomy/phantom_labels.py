"""Label map of the phantom: one number a voxel, each structure the union of some numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.phantom_sampling import index_box, sample
from needleplan.anatomy.phantom_shapes import Shape
from needleplan.case.model import Role
from needleplan.frames import read_only
from needleplan.grid import Grid, VoxelMask

#: Structures that others lie in; every other structure lies beside its neighbours.
_CONTAINERS = (Role.SKIN, Role.ORGAN)


@dataclass(frozen=True, slots=True, eq=False)
class PhantomStructure:
    """One structure of the phantom: its name, its role and its solid."""

    name: str
    role: Role
    shape: Shape


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Exclusive labels.

    Attributes:
        grid: the grid of the image.
        labels: uint8 array of ``grid.shape``, read-only; 0 is air.
        numbers: for each structure by name: the labels whose union it is.
    """

    grid: Grid
    labels: NDArray[np.uint8]
    numbers: dict[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", read_only(self.labels, np.uint8))

    def mask(self, name: str) -> VoxelMask:
        """The voxels of a structure; raises GeometryError where it has none."""
        chosen = np.zeros(256, dtype=bool)
        chosen[list(self.numbers[name])] = True
        return VoxelMask.cropped(self.grid, chosen[self.labels])


def label_map(structures: Sequence[PhantomStructure], grid: Grid) -> LabelMap:
    """Labels of structures on a grid.

    The skin and the liver hold others. Of two structures that meet at a joint (ribs and spine, hepatic veins and
    vena cava) the later one has the voxels of both.

    Args:
        structures: containers before what they hold.
        grid: the grid.
    """
    labels = np.zeros(grid.shape, dtype=np.uint8)
    numbers: dict[str, list[int]] = {}
    containers: dict[str, NDArray[np.bool_]] = {}
    count = 0
    for structure in structures:
        box = index_box(structure.shape, grid)
        start = (box[0].start, box[1].start, box[2].start)
        part_grid = grid.cropped(start, tuple(part.stop - part.start for part in box))
        inside = sample(structure.shape, part_grid) < 0
        numbers[structure.name] = []
        # A stem outside the liver and its branches within get a number each, as the liver is a union of numbers.
        parts: list[tuple[tuple[str, ...], NDArray[np.bool_]]] = [((), inside)]
        for name, container in containers.items():
            parts = [
                (((*held, name) if within else held), part & (container[box] if within else ~container[box]))
                for held, part in parts
                for within in (True, False)
            ]
        for held, part in parts:
            if not part.any():
                continue
            count += 1
            labels[box][part] = count
            for name in (structure.name, *held):
                numbers[name].append(count)
        if structure.role in _CONTAINERS:
            containers[structure.name] = np.zeros(grid.shape, dtype=bool)
            containers[structure.name][box] = inside
    return LabelMap(grid, labels, {name: tuple(found) for name, found in numbers.items()})
