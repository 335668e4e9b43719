"""Places that the base of a robot may take beside or on the table. Metres and radians, world frame W."""

from dataclasses import dataclass

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import RigidTransform
from robots.arm_settings import Mount
from robots.frames import PatientPlacement, base_pose
from robots.gantry import Gantry

#: The axis of a base on the floor keeps this far from the edge of the table.
LEAST_GAP_M = 0.1
#: Distances of bases from the front of a scanner's ring.
BEFORE_GANTRY_M = (0.6, 0.48, 0.36, 0.24, 0.12)


@dataclass(frozen=True, slots=True)
class BaseGrid:
    """Places relative to the table, upright, the robot's front towards it.

    Attributes:
        gaps_m: distances of the base's axis from the edge of the table, outwards; 0 is the rail along the edge.
        along_m: places along the table, towards the head, relative to the target.
        heights_m: heights of the base above the table's top; negative stands lower.
        sides: 1 for the side of the world's +x, -1 for the other.
        turns_rad: turns of the base about the vertical away from facing the table squarely.
        mount: what the base stands on.

    Raises:
        OptionError: a list is empty, a base on the floor would stand in the table, or one on its rail beside it.
    """

    gaps_m: tuple[float, ...] = (0.15, 0.25, 0.35, 0.45)
    along_m: tuple[float, ...] = (-0.3, -0.15, 0.0, 0.15, 0.3)
    heights_m: tuple[float, ...] = (-0.2, 0.0, 0.2)
    sides: tuple[int, ...] = (1, -1)
    turns_rad: tuple[float, ...] = (0.0,)
    mount: Mount = Mount.FLOOR

    def __post_init__(self) -> None:
        if not all((self.gaps_m, self.along_m, self.heights_m, self.sides, self.turns_rad)):
            raise OptionError("a base grid needs at least one value of each kind")
        numbers = (*self.gaps_m, *self.along_m, *self.heights_m, *self.turns_rad)
        if not np.isfinite(numbers).all():
            raise OptionError("the places of a base grid must be finite numbers")
        if self.mount is Mount.FLOOR and min(self.gaps_m) < LEAST_GAP_M:
            raise OptionError(f"the base needs a gap of at least {LEAST_GAP_M:g} m from the edge of the table")
        if self.mount is Mount.TABLE and (set(self.gaps_m) != {0.0} or set(self.heights_m) != {0.0}):
            raise OptionError("a base on the table's rail has a gap of 0 m from its edge and a height of 0 m")
        if not set(self.sides) <= {1, -1}:
            raise OptionError("the sides of a base grid are 1 and -1")

    @classmethod
    def for_mount(cls, mount: Mount, gantry: Gantry | None = None) -> "BaseGrid":
        """The places that are looked at unless others are given.

        With a scanner a base on the floor stands on the feet's side of its ring.
        """
        if mount is Mount.FLOOR:
            if gantry is None:
                return cls()
            face = gantry.centre_along_table_m - gantry.depth_m / 2
            return cls(along_m=tuple(round(face - step, 6) for step in BEFORE_GANTRY_M))
        # The carriage of a table-mounted guide goes along the rail, so few places on it are needed.
        return cls(gaps_m=(0.0,), along_m=(-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3), heights_m=(0.0,), mount=mount)

    def poses(self, placement: PatientPlacement) -> tuple[RigidTransform, ...]:
        """All places X_WB, in a fixed order."""
        edge, floor = placement.table.half_width_m, -placement.table.height_m
        return tuple(
            base_pose((side * (edge + gap), along, max(height, floor)), turn + (np.pi if side > 0 else 0.0))
            for side in self.sides
            for height in self.heights_m
            for gap in self.gaps_m
            for along in self.along_m
            for turn in self.turns_rad
        )
