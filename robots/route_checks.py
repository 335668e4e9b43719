"""Whether an arm keeps the clearances that a route asks for, and in words what comes too near."""

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray, RigidTransform
from robots.clearance import ArmClearance, Surroundings, arm_clearance, posture_clearances
from robots.model import RobotModel
from robots.route_options import RouteOptions

#: A piece of a path whose bound is too low is cut in two at most so often.
CUTS = 8
#: Step of the driver between two checks of clearance.
DRIVER_STEP_M = 0.01


class RouteChecks:
    """Checks of one arm at one place against the clearances of the options."""

    def __init__(self, robot: RobotModel, X_WB: RigidTransform, options: RouteOptions) -> None:
        self.robot, self.X_WB, self.options = robot, X_WB, options

    def clearance(self, q: FloatArray, around: Surroundings) -> ArmClearance:
        """Lower bound of the clearances along postures (k, n) with the needle drawn back."""
        return arm_clearance(self.robot, self.X_WB, q, 0.0, around)

    def insertion_clearance(self, q: FloatArray, tip_m: float, around: Surroundings) -> ArmClearance:
        """The same while the arm stands at ``q`` (n,) and the driver goes to ``tip_m``."""
        driver = np.linspace(0.0, tip_m, max(2, int(np.ceil(tip_m / DRIVER_STEP_M)) + 1))
        return arm_clearance(self.robot, self.X_WB, np.broadcast_to(q, (len(driver), len(q))), driver, around)

    def checked(self, q: FloatArray, around: Surroundings, cuts: int = CUTS) -> ArmClearance:
        """Lower bound of the clearances along postures (k, n), finer where a coarse bound is too low.

        The bound between two postures falls short of the truth by up to half the arm's way between them. Where it
        says too near although both postures are clear, the piece is cut in two, again and again.
        """
        found = self.clearance(q, around)
        if not self.too_near(found) or cuts == 0 or not self.clear(q, around, 0.0).all():
            return found
        if len(q) == 1:
            return found
        if len(q) == 2:
            q = np.array([q[0], 0.5 * (q[0] + q[1]), q[1]])
            cuts -= 1
        middle = len(q) // 2
        first = self.checked(q[: middle + 1], around, cuts)
        return first if self.too_near(first) else first.and_of(self.checked(q[middle:], around, cuts))

    def clear(self, q: FloatArray, around: Surroundings, margin_m: float) -> NDArray[np.bool_]:
        """(k,) which postures (k, n) keep their distances, and ``margin_m`` more from obstacles."""
        options = self.options
        outer, needles = options.clearance_m + margin_m, options.needle_clearance_m + margin_m
        found = posture_clearances(
            self.robot, self.X_WB, q, around, cap_m=max(outer, needles, options.self_clearance_m) + 1e-3
        )
        good = (found.table_m >= outer) & (found.self_m >= options.self_clearance_m)
        for values, wanted in ((found.patient_m, outer), (found.gantry_m, outer), (found.needles_m, needles)):
            if values is not None:
                good &= values >= wanted
        return np.asarray(good)

    def clearances(self, q: FloatArray, around: Surroundings) -> FloatArray:
        """(k,) least clearances of postures (k, n), each for itself."""
        return posture_clearances(self.robot, self.X_WB, q, around).least_m

    def too_near(self, clearance: ArmClearance) -> str:
        """What comes too near, in words; empty where nothing does."""
        options = self.options
        kept = (
            (clearance.patient_m, options.clearance_m, "the patient"),
            (clearance.table_m, options.clearance_m, "table or floor"),
            (clearance.gantry_m, options.clearance_m, "the gantry"),
            (clearance.needles_m, options.needle_clearance_m, "a placed needle"),
            (clearance.self_m, options.self_clearance_m, "itself"),
        )
        faults = []
        for found, wanted, what in kept:
            if found is not None and found < wanted:
                # Capsules that meet have no depth: how far one goes in is not known.
                how = f"within {found * 1e3:.0f} mm of" if found > 0 else "into"
                nearest = f" ({clearance.nearest})" if found == clearance.least_m and clearance.nearest else ""
                faults.append(f"{how} {what}{nearest} where {wanted * 1e3:.0f} mm are asked for")
        return "the arm comes " + " and ".join(faults) if faults else ""


def with_needles(clearance: ArmClearance) -> ArmClearance:
    """A clearance of surroundings without needles, to be joined with one of surroundings that have some."""
    if clearance.needles_m is not None:
        return clearance
    return ArmClearance(
        clearance.patient_m, clearance.table_m, clearance.self_m, clearance.nearest, clearance.gantry_m, np.inf
    )
