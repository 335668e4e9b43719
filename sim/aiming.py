"""The guide aimed at a displaced target: its axis turns about the entry, which stays where it is (metres)."""

import numpy as np

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, RigidTransform
from robots.frames import in_base
from robots.kinematics import guide_pose
from robots.model import RobotModel
from robots.moves import solver_of
from robots.route import InsertionRoute, Phase


class AimedGuide:
    """Postures at which the needle's axis leads from the entry to the tip's planned place plus a shift.

    The entry is the remote centre: the guide turns about it at its planned distance, so a needle that is partly in
    is not pulled sideways at the skin. Followed joint by joint from the posture before, no faster than the joints
    can.
    """

    def __init__(
        self, route: InsertionRoute, robot: RobotModel, X_WB: RigidTransform, allowance_m: float = 0.0
    ) -> None:
        """
        Args:
            route: a route that is reached.
            robot: the arm.
            X_WB: where the arm believes its base to stand.
            allowance_m: how much farther than to the aimed point the needle is pushed, because it pushes the tissue
                before it.

        Raises:
            RobotError: the plan's posture has joint positions that are not finite.
        """
        self._solver, self._X_WB = solver_of(robot), X_WB
        self._entry = np.asarray(route.entry_m)
        self._way = np.asarray(route.tip_m) - self._entry
        self._length, self._allowance = float(np.linalg.norm(self._way)), allowance_m
        self._stand_off = route.driver_entry_m
        self._speeds = np.asarray(robot.velocity_limits)
        self.rest = route.segment(Phase.INSERT).positions[0, :-1].copy()
        """(n,) posture of the plan, aimed at the planned tip."""
        if not np.isfinite(self.rest).all():
            raise RobotError(f"insertion {route.order}: its route holds a joint position that is not a number")
        self.posture = self.rest.copy()
        """(n,) posture now."""
        self.shift_m = np.zeros(3)
        """(3,) shift of the aimed point from the planned tip that the posture belongs to, in the world."""

    @property
    def stretch(self) -> float:
        """Length from the entry to the aimed point, with the allowance, over the planned length."""
        if not (self.shift_m.any() or self._allowance):
            return 1.0
        return (float(np.linalg.norm(self._way + self.shift_m)) + self._allowance) / self._length

    def turn_to(self, shift_m: FloatArray, duration_s: float) -> bool:
        """Aim at the planned tip plus ``shift_m`` (3,), as far as the joints can turn in ``duration_s``.

        Returns:
            False where the arm cannot: it stays where it is.
        """
        wanted = np.asarray(shift_m, dtype=np.float64)
        if (wanted == self.shift_m).all():
            return True
        if not wanted.any():
            found: FloatArray | None = self.rest
        else:
            way = self._way + wanted
            direction = way / np.linalg.norm(way)
            pose = guide_pose(self._entry - self._stand_off * direction, direction, self._X_WB.parent)
            found = self._solver.follow(in_base(self._X_WB, pose), self.posture)
        if found is None:
            return False
        change = found - self.posture
        share = float(np.max(np.abs(change) / (self._speeds * duration_s), initial=0.0))
        if share <= 1.0:
            self.posture, self.shift_m = found.copy(), wanted
        else:
            self.posture = self.posture + change / share
            self.shift_m = self.shift_m + (wanted - self.shift_m) / share
        return True
