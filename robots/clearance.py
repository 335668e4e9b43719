"""How near an arm comes to patient, table, gantry, placed needles and itself: never less near than it is.

The arm's collision shapes are enclosed in capsules (``RobotModel.capsules``), and that is the only simplification:
a capsule's clearance is the exact distance of its axis from every face of an obstacle, less its radius. So what is
returned is the exact clearance of the capsules and a lower bound of that of the shapes within them. An obstacle is
solid: a capsule whose axis goes into it has minus its radius, however deep it is.

Of what the driver moves, the part behind the guide's exit counts against everything. The part ahead of it is the
needle on its way into the body: it counts against table, gantry, placed needles and the arm until it enters the
skin, and not against the patient; inside the body it is the planner's business. Without a patient's surface there
is no skin to enter, and all of it counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray, RigidTransform
from robots.arm_capsules import ArmCapsules
from robots.clearance_kernels import (
    BLOCK,
    FIXED,
    GANTRY,
    NEEDLES,
    PATIENT,
    SELF,
    TABLE,
    clear_rows,
    few_clear_rows,
    few_least_clearances,
    few_row_clearances,
    least_clearances,
    row_clearances,
)
from robots.gantry import Gantry
from robots.model import RobotModel
from robots.placed_capsules import placed_parts, rows_until_skin
from robots.surroundings import PlacedNeedle, Surroundings

__all__ = [
    "CAP_M", "ArmClearance", "Gantry", "PlacedNeedle", "PostureClearances", "Surroundings", "arm_clearance",
    "clear_postures", "posture_clearances",
]  # fmt: skip

#: Distances are not followed beyond this: a clearance of this value means "at least this".
CAP_M = 0.15
#: What sets a clearance, in words, by the kernels' columns.
_NAMES = {PATIENT: "the patient", TABLE: "table or floor", GANTRY: "the gantry", NEEDLES: "a placed needle"}


@dataclass(frozen=True, slots=True, eq=False)
class PostureClearances:
    """Clearances of k postures, each for itself; the cap they were computed with means "at least this".

    Attributes:
        patient_m: (k,) to the patient's surface; None where no surface is known.
        table_m: (k,) to table or floor.
        gantry_m: (k,) to the gantry; None where there is none.
        needles_m: (k,) to needles in place; None where there are none.
        self_m: (k,) between parts of the arm that are not neighbours.
    """

    patient_m: FloatArray | None
    table_m: FloatArray
    gantry_m: FloatArray | None
    needles_m: FloatArray | None
    self_m: FloatArray

    @property
    def outer_m(self) -> FloatArray:
        """(k,) least of the clearances from obstacles."""
        known = [self.table_m, self.patient_m, self.gantry_m, self.needles_m]
        return np.asarray(np.min([values for values in known if values is not None], axis=0))

    @property
    def least_m(self) -> FloatArray:
        """(k,) least of all clearances that were computed."""
        return np.minimum(self.outer_m, self.self_m)

    def keeps(self, outer_m: float, self_m: float) -> NDArray[np.bool_]:
        """(k,) True where every obstacle is at least ``outer_m`` away and the arm's own parts ``self_m``."""
        return (self.outer_m >= outer_m) & (self.self_m >= self_m)


@dataclass(frozen=True, slots=True)
class ArmClearance:
    """Least clearances along a path; each is a lower bound and a value of ``CAP_M`` means "at least this".

    Attributes:
        patient_m: arm to the patient's surface; None where no surface was given.
        table_m: arm to table or floor.
        self_m: between parts of the arm that are not neighbours.
        nearest: names what sets the least of them.
        gantry_m: arm to the gantry; None where there is none.
        needles_m: arm to needles in place; None where there are none.
    """

    patient_m: float | None
    table_m: float
    self_m: float
    nearest: str
    gantry_m: float | None = None
    needles_m: float | None = None

    @property
    def outer_m(self) -> float:
        """The least of the clearances from obstacles."""
        known = (self.table_m, self.patient_m, self.gantry_m, self.needles_m)
        return min(value for value in known if value is not None)

    @property
    def least_m(self) -> float:
        """The least of the clearances that were computed."""
        return min(self.outer_m, self.self_m)

    def keeps(self, outer_m: float, self_m: float) -> bool:
        """True where every obstacle is at least ``outer_m`` away and the arm's own parts ``self_m``."""
        return self.outer_m >= outer_m and self.self_m >= self_m

    def and_of(self, other: "ArmClearance") -> "ArmClearance":
        """The lesser of each clearance of two paths in the same surroundings."""

        def lesser(first: float | None, second: float | None) -> float | None:
            return None if first is None or second is None else min(first, second)

        return ArmClearance(
            lesser(self.patient_m, other.patient_m),
            min(self.table_m, other.table_m),
            min(self.self_m, other.self_m),
            (self if self.least_m <= other.least_m else other).nearest,
            lesser(self.gantry_m, other.gantry_m),
            lesser(self.needles_m, other.needles_m),
        )


def posture_clearances(
    robot: RobotModel,
    X_WB: RigidTransform,
    q: ArrayLike,
    around: Surroundings,
    driver_m: ArrayLike = 0.0,
    cap_m: float = CAP_M,
) -> PostureClearances:
    """Clearances of postures, each for itself.

    Args:
        robot: the arm.
        X_WB: pose of its base in the world.
        q: (k, n) joint positions.
        around: what to keep clear of.
        driver_m: position of the driver, one or (k,).
        cap_m: distances are not followed beyond this.

    Raises:
        FrameError: X_WB is not the pose of a base in the world.
        RobotError: ``q`` or ``driver_m`` have a wrong shape or are not finite.
        OptionError: ``cap_m`` is not a positive number.
    """
    if not 0 < cap_m < np.inf:
        raise OptionError(f"clearances need a positive cap in metres, not {cap_m:g}")
    body = ArmCapsules.of(robot)
    parts = [np.empty((0, 5))]
    for rows in placed_parts(body, robot, X_WB, q, driver_m, around):
        parts.append(np.empty((len(rows), 5)))
        measure = least_clearances if len(rows) > BLOCK else few_least_clearances
        measure(rows, body.arm, *around.scene, float(cap_m), parts[-1])
    least = np.concatenate(parts)
    return PostureClearances(
        least[:, PATIENT] if around.has_patient else None,
        least[:, TABLE],
        least[:, GANTRY] if around.gantry is not None else None,
        least[:, NEEDLES] if around.needles else None,
        least[:, SELF],
    )


def clear_postures(
    robot: RobotModel,
    X_WB: RigidTransform,
    q: ArrayLike,
    around: Surroundings,
    outer_m: float,
    self_m: float,
    driver_m: ArrayLike = 0.0,
) -> NDArray[np.bool_]:
    """Which postures keep their distances: the decisions of ``posture_clearances(...).keeps(...)``, sooner.

    Args:
        robot: the arm.
        X_WB: pose of its base in the world.
        q: (k, n) joint positions.
        around: what to keep clear of.
        outer_m: least distance from every obstacle.
        self_m: least distance between parts of the arm.
        driver_m: position of the driver, one or (k,).

    Returns:
        (k,) True where both are kept.

    Raises:
        FrameError, RobotError: as for ``posture_clearances``.
        OptionError: a distance is not a finite number of 0 or more.
    """
    if not (0 <= outer_m < np.inf and 0 <= self_m < np.inf):
        raise OptionError(f"distances to keep must be 0 m or more, not {outer_m:g} and {self_m:g}")
    body = ArmCapsules.of(robot)
    parts = [np.empty(0, dtype=np.bool_)]
    for rows in placed_parts(body, robot, X_WB, q, driver_m, around):
        parts.append(np.empty(len(rows), dtype=np.bool_))
        decide = clear_rows if len(rows) > BLOCK else few_clear_rows
        decide(rows, body.arm, *around.scene, float(outer_m), float(self_m), parts[-1])
    return np.concatenate(parts)


def arm_clearance(
    robot: RobotModel, X_WB: RigidTransform, q: ArrayLike, driver_m: ArrayLike, around: Surroundings
) -> ArmClearance:
    """Least clearances along a path, between its samples too.

    Between two samples every joint is taken to move straight and without turning back. A point of the arm then
    strays from its chord of length c by at most e = (θ² R + 2 θ p) / 8, where θ and p are the sums of the angles
    and strokes by which the joints move and R its greatest distance from their axes: 8 e bounds its second
    derivative, as ω × (ω × r) and 2 ω × v do for single joints. A distance changes by at most the way of a point,
    so between distances d₁ and d₂ it is at least (d₁ + d₂ - c) / 2 - e. While the needle is ahead of the guide's
    exit the arm is taken to stand still.

    Args:
        robot: the arm.
        X_WB: pose of its base in the world.
        q: (k, n) joint positions along the path, k at least 1.
        driver_m: position of the driver, one or (k,).
        around: what to keep clear of.

    Raises:
        FrameError, RobotError: as for ``posture_clearances``; RobotError for a path without postures too.
    """
    body = ArmCapsules.of(robot)
    rows = rows_until_skin(body, robot, X_WB, q, driver_m, around)
    if not len(rows):
        raise RobotError(f"robot {robot.name}: a path needs at least one posture")
    ways, strays = _ways(body, robot, rows, q, driver_m)
    # Bounds between samples lose up to half a way, so distances are followed a little beyond what is reported.
    slack = float((ways + 2.0 * strays).max()) if len(ways) else 0.0
    first, second = body.arm[4].T
    outer, own = np.empty((*rows.shape[:2], SELF)), np.empty((len(rows), len(first)))
    measure = row_clearances if len(rows) > BLOCK else few_row_clearances
    measure(rows, body.arm, *around.scene, CAP_M + slack, slack, outer, own)
    outer = _between(outer, ways[..., None], strays[..., None]).min(axis=0)
    own = _between(own, ways[:, first] + ways[:, second], strays[:, first] + strays[:, second]).min(axis=0)
    least = [*outer.min(axis=0), own.min(initial=CAP_M)]
    values = [min(float(value), CAP_M) for value in least]
    nearest = ""
    if min(values) < CAP_M:
        kind = int(np.argmin(values))
        if kind == SELF:
            links = [body.capsules[row].link for row in body.arm[4][int(np.argmin(own))]]
        else:
            links = [body.capsules[int(np.argmin(outer[:, kind]))].link, _NAMES[kind]]
        nearest = " to ".join(links)
    return ArmClearance(
        values[PATIENT] if around.has_patient else None,
        values[TABLE],
        values[SELF],
        nearest,
        values[GANTRY] if around.gantry is not None else None,
        values[NEEDLES] if around.needles else None,
    )


def _ways(
    body: ArmCapsules, robot: RobotModel, rows: FloatArray, q: ArrayLike, driver_m: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """(k - 1, r) chords of each row's axis between samples, and how far its points stray from them."""
    ends = rows.reshape(*rows.shape[:2], 2, 3)
    chords = np.linalg.norm(np.diff(ends, axis=0), axis=3).max(axis=2)
    moved = np.abs(np.diff(np.reshape(q, (len(rows), -1)), axis=0))
    driver = np.abs(np.diff(np.broadcast_to(driver_m, len(rows))))[:, None] * (body.part != FIXED)
    # Of the joints that carry each row.
    carriers = np.minimum(body.frame, len(robot.chain))
    angle, stroke = (
        np.pad(np.cumsum(moved * kind, axis=1), ((0, 0), (1, 0)))[:, carriers]
        for kind in (~robot.chain.prismatic, robot.chain.prismatic)
    )
    strays = (angle**2 * body.farthest_m + 2.0 * angle * (stroke + driver)) / 8.0
    # A part that is there at one sample only, because it passed the guide's exit, has moved with the driver.
    return np.fmax(chords, driver), strays


def _between(values: FloatArray, ways: FloatArray, strays: FloatArray) -> FloatArray:
    """Lower bounds (k - 1, ...) of distances (k, ...) between samples; the distances themselves for one sample."""
    if len(values) == 1:
        return values
    first, second = values[:-1], values[1:]
    return np.minimum((first + second - ways) / 2 - strays, np.minimum(first, second))
