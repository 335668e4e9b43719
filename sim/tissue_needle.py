"""One needle on its way from the air into a patient who breathes: where it lies, what it feels, where its tip is.

The guide clamps the shaft at its exit; in the body the shaft lies in the channel that its tip has cut, which moves
with the tissue and holds it from the side as an elastic foundation does. So a stiff needle keeps the guide's axis
while tissue slides past, a limp one goes with the tissue. A bevel steers the tip besides. Along the needle the
layers of tissue push back (:mod:`sim.layered_force`): they get the motion of the tip relative to the tissue around
it, so breathing is felt, and tissue that is pushed before it gives way leaves the tip less deep than the driver.

The skin is passed where the needle's axis meets the plane across the planned path at the planned entry, moved with
the skin. All is quasi-static. Left out: the shortening of a bent needle, tissue dragged along by the shaft, and
shear between layers in the force along the needle, which counts the motion at the tip for the whole shaft.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.motion.body_motion import BodyState
from needleplan.plan import Insertion
from sim.carried_needle import carried
from sim.needle_bending import curvature_per_m
from sim.needle_channel import SPACING_MM, NeedleChannel, ShaftShape, check_resolved
from sim.needle_mechanics import NeedleFeel, NeedleMechanics
from sim.tissue_at_needle import tissue_along, tissue_at, unfolded
from sim.tissue_force import PunctureEvent, TissueLayer, TissueState
from sim.tissue_parameters import TissueParameters

__all__ = ["NeedleMechanics", "TissueNeedle"]

#: Cosine of the greatest angle between guide and planned path that is still this insertion.
FACING = 0.5
#: A needle that tissue alone is to hold lies at least so deep in it.
SHALLOWEST_MM = 1.0
#: A needle is out when its tip is this far before the skin, so that one at rest there does not go in and out.
OUT_MM = 0.1


class TissueNeedle:
    """One needle, from the air into the moving patient.

    Args:
        planned: where it is to go.
        shaft_diameter_mm: outer diameter.
        queries: the anatomy at rest.
        mechanics: what is simulated.
        parameters: figures of the tissues; the built-in ones where None.

    Attributes:
        in_tissue: True from the passing of the skin until the tip is out of it again.
        entry_at_rest_mm: (3,) the skin point that grips it, in the body at rest; None in the air.
        tip_mm: (3,) its tip in the room, patient LPS.
        depth_mm: of the tip behind the skin along the guide's axis, in the room; negative in the air.
        bend_mm: the tip's distance from the guide's axis when a guide last held it.
        peak_force_n: greatest force along it so far, pushing or pulling.
        peak_tip_force_n: greatest force on its tip so far.

    Raises:
        OptionError: an impossible diameter, or a needle that is too limp.
    """

    def __init__(
        self,
        planned: Insertion,
        shaft_diameter_mm: float,
        queries: AnatomyQueries,
        mechanics: NeedleMechanics | None = None,
        parameters: TissueParameters | None = None,
    ) -> None:
        self._mechanics = mechanics or NeedleMechanics()
        self._diameter_m = 1e-3 * shaft_diameter_mm
        self._shaft = self._mechanics.shaft(self._diameter_m)
        if self._mechanics.bends:
            check_resolved(self._shaft, self._mechanics.side_stiffness_pa)
        self._planned_entry = np.asarray(planned.entry_mm, dtype=np.float64)
        self._planned_direction, self._planned_depth_mm = planned.direction, planned.depth_mm
        x, y = perpendicular_axes(self._planned_direction)
        self._side = math.cos(self._mechanics.roll_rad) * x + math.sin(self._mechanics.roll_rad) * y
        self._queries, self._parameters = queries, parameters
        self._body: BodyState | None = None
        self._exit, self._axis, self._reach_mm = self._planned_entry, self._planned_direction, 0.0
        self._channel: NeedleChannel | None = None
        self._shape: ShaftShape | None = None
        self._feel: NeedleFeel | None = None
        self._free_mm = 0.0
        self._hub_depth_mm = self._push_mm = 0.0
        self._image: FloatArray | None = None
        self._left_at_rest_mm = self._planned_entry
        self._loose_image_mm: FloatArray | None = None
        self._let_go = self._loose = False
        self.tip_mm: FloatArray = self._exit
        self.entry_at_rest_mm: FloatArray | None = None
        self.depth_mm = -math.inf
        self.bend_mm = 0.0
        self.peak_force_n = self.peak_tip_force_n = 0.0

    @property
    def in_tissue(self) -> bool:
        return self._channel is not None

    @property
    def tissue_holds(self) -> bool:
        """True where tissue has grip enough of it for :meth:`let_go`."""
        return self._channel is not None and self._depth_in_tissue_mm >= SHALLOWEST_MM

    @property
    def force(self) -> TissueState | None:
        """What it feels along itself; None in the air, without feeling, loose and once it was let go."""
        return None if self._feel is None or self._loose else self._feel.state

    @property
    def layers(self) -> tuple[TissueLayer, ...]:
        """What lies along it, by depth behind the skin; empty where it feels nothing."""
        return () if self._feel is None else self._feel.layers

    @property
    def stop_reason(self) -> str | None:
        """Why it must not be pushed on, in words; None while it may."""
        return None if self._feel is None or self._loose else self._feel.stop_reason(self._free_mm)

    @property
    def tip_at_rest_mm(self) -> FloatArray:
        """(3,) the tip in the body at rest at end-exhale.

        While the needle is held, the tissue that touches its tip: for one that bends the end of its channel, which
        goes with it, for a rigid one that slides through tissue the tissue that lies there now. Once it was let
        go, where the tip lies when the body is at rest again; that no longer changes.

        Raises:
            OptionError: before the first step.
        """
        if self._let_go or self._loose:
            return self._left_at_rest_mm
        if self._channel is not None and self._mechanics.bends:
            return self._channel.until(self._depth_in_tissue_mm)[-1]
        return self._tissue_at_tip_mm

    @property
    def shaft_mm(self) -> FloatArray:
        """(k, 3) polyline in the room from the guide's exit, or its end outside the skin, to the tip."""
        if self._shape is None:
            return np.stack([self._exit, self.tip_mm])
        inside = self._shape.in_tissue_mm
        free = self._let_go or self._loose
        before = self._shape.out_of_skin_mm(self._free_mm)[None] if free else self._shape.in_air_mm
        return np.concatenate([before, inside])

    @property
    def shaft_at_rest_mm(self) -> FloatArray:
        """(k, 3) the tissue that touches it, in the body at rest, from the skin to the tip; empty in the air."""
        if self._channel is None:
            return np.zeros((0, 3))
        if self._mechanics.bends:
            return self._channel.until(self._depth_in_tissue_mm)
        length = max(self.depth_mm, 0.0)
        behind = np.linspace(length, 0.0, math.ceil(length / SPACING_MM) + 1)[:, None]
        inside = self.tip_mm - behind * self._axis
        rest = tissue_along(self._moved(), inside, self.tip_mm, self._axis, self._push_mm)
        rest[-1] = self._tissue_at_tip_mm
        return rest

    def step(
        self, duration_s: float, exit_mm: ArrayLike, axis: ArrayLike, reach_mm: float, body: BodyState
    ) -> tuple[PunctureEvent, ...]:
        """Guide, driver and body have moved on.

        Args:
            duration_s: since the last step, above 0.
            exit_mm: (3,) the guide's exit in the room now, patient LPS.
            axis: (3,) unit vector of the guide, towards the patient.
            reach_mm: length of needle beyond the exit, 0 or more.
            body: the body now.

        Returns:
            What was punctured since; times count from the passing of the skin.

        Raises:
            OptionError: an impossible number, a guide that looks elsewhere, or a needle that was let go of.
        """
        start, way = np.asarray(exit_mm, dtype=np.float64), np.asarray(axis, dtype=np.float64)
        if self._let_go:
            raise OptionError("a needle that was let go of cannot be driven on: it moves with the body")
        if start.shape != (3,) or not np.isfinite(start).all():
            raise OptionError("the guide's exit must be three finite numbers")
        if way.shape != (3,) or not abs(float(way @ way) - 1.0) <= 1e-6:
            raise OptionError(f"the guide's axis must be a unit vector of three numbers, not {way.tolist()}")
        if not 0.0 <= reach_mm < math.inf or not 0.0 < duration_s < math.inf:
            raise OptionError(
                f"a needle needs a reach from 0 mm and a step above 0 s, not {reach_mm:g} mm in {duration_s:g} s"
            )
        self._exit, self._axis, self._reach_mm, self._body = start.copy(), way.copy(), float(reach_mm), body
        if self._loose:
            self._loose, self._image = False, self._loose_image_mm
        if self._channel is None and not self._enters(body):
            return ()
        return self._advance(duration_s, body)

    def let_go(self) -> None:
        """Guide and driver release it: tissue alone holds it from now on, and pushes it back until it is at rest.

        Raises:
            OptionError: it is not in tissue.
        """
        self._release()
        self._let_go, self._loose = True, False
        self._feel, self._push_mm = None, 0.0
        self.carried_by(self._moved())

    def loosen(self, body: BodyState) -> None:
        """Guide and driver give way for a step: tissue carries it; :meth:`step` takes it up again.

        Args:
            body: the body now.

        Raises:
            OptionError: it is not in tissue, or was let go of for good.
        """
        if not self._loose:
            # Where hub and push were is kept: whoever takes the needle up pushes it as far in again.
            kept = self._hub_depth_mm, self._image
            self._release()
            (self._hub_depth_mm, self._loose_image_mm), self._loose = kept, True
        self._carried(body)

    def _release(self) -> None:
        """The tissue that was pushed before the tip pushes the needle back."""
        if self._let_go or self._channel is None or not self.tissue_holds:
            raise OptionError(
                f"only a needle that is held and lies at least {SHALLOWEST_MM:g} mm in tissue can be let go of"
            )
        if self._loose:
            return
        self._left_at_rest_mm = self._tissue_at_tip_mm
        self._hub_depth_mm = self._depth_in_tissue_mm
        if self._mechanics.bends:
            self._channel.end_at(self._hub_depth_mm)
            self._left_at_rest_mm = self._left_in(self._channel).tip_mm

    def carried_by(self, body: BodyState) -> None:
        """Where a needle that was let go of lies in the body now.

        One that bends takes the shape of least energy in its channel, straight on outside the skin. A rigid one
        lies between its skin point and the tissue at its tip (:mod:`sim.carried_needle`).

        Raises:
            OptionError: it has not been let go of.
        """
        if not self._let_go:
            raise OptionError("only a needle that was let go of is carried by the body alone")
        self._carried(body)

    def _carried(self, body: BodyState) -> None:
        assert self._channel is not None and self.entry_at_rest_mm is not None
        self._body = body
        if self._mechanics.bends:
            self._shape = self._left_in(self._channel, body)
            self._axis, self.depth_mm = self._shape.axis, self._shape.reach_mm
            self._free_mm = max(self._reach_mm - self.depth_mm, 0.0)
            self.tip_mm, self._image = self._shape.tip_mm, None
            return
        rest = np.stack([self.entry_at_rest_mm, self._left_at_rest_mm])
        shift = _from_skin(body, rest) - rest
        needle = carried(rest[0], rest[1], shift[0], shift[1])
        self._axis, self.depth_mm, self.tip_mm = needle.direction, needle.inserted_m, needle.tip_m
        self._exit = needle.entry_m - max(self._reach_mm - self.depth_mm, 0.0) * self._axis
        self._image = self._left_at_rest_mm

    def _enters(self, body: BodyState) -> bool:
        """Whether the tip has passed the skin; if so, what lies before it is laid out."""
        facing = float(self._axis @ self._planned_direction)
        if not facing >= FACING:
            raise OptionError("the guide's axis points away from the planned path by more than 60 degrees")
        skin = body.carry(self._planned_entry[None], inside=False)[0]
        self._free_mm = float((skin - self._exit) @ self._planned_direction) / facing
        self.depth_mm = self._reach_mm - self._free_mm
        self.tip_mm, self._image = self._exit + self._reach_mm * self._axis, None
        if self.depth_mm < 0.0:
            return False
        entry = self._exit + self._free_mm * self._axis
        # The skin goes with the wall, also where the wall was not told from what slides within it.
        at_rest = body.back(entry[None], inside=False)[0]
        aim = body.back((entry + self._planned_depth_mm * self._axis)[None])[0]
        self.entry_at_rest_mm = at_rest
        self._channel = NeedleChannel(at_rest, 500.0 * self._diameter_m)
        self._hub_depth_mm, self._image = 0.0, at_rest
        if self._mechanics.feels:
            self._feel = NeedleFeel(
                self._queries, at_rest, aim, self._planned_depth_mm, self._diameter_m, self._mechanics,
                self._parameters,
            )  # fmt: skip
        return True

    def _advance(self, duration_s: float, body: BodyState) -> tuple[PunctureEvent, ...]:
        """The needle in the body now, from where it was; both may have moved."""
        assert self._channel is not None
        bends, feels = self._mechanics.bends, self._mechanics.feels
        before = self._image if bends or feels else None
        known = self._channel.points_mm if before is None else np.vstack([self._channel.points_mm, before])
        moved = _from_skin(body, known)
        self._free_mm = float((moved[0] - self._exit) @ self._axis)
        self.depth_mm = self._reach_mm - self._free_mm
        self.tip_mm, self._image = self._exit + self._reach_mm * self._axis, None
        if self.depth_mm < -OUT_MM:
            self._leave()
            return ()
        if bends:
            channel = moved[: len(self._channel.points_mm)]
            self._shape = ShaftShape(
                channel, self._channel.steered_per_mm, self._exit, self._axis, self._reach_mm,
                unfolded(self._push_mm), self._shaft, self._mechanics.side_stiffness_pa,
            )  # fmt: skip
            self.tip_mm = self._shape.tip_mm
            self.bend_mm = float(np.linalg.norm(self._shape.tip_offset_mm))
        if before is None:
            return ()
        relative = self.tip_mm - moved[-1]
        self._image = tissue_at(body, self.tip_mm, before + relative)
        self._hub_depth_mm += float(relative @ self._axis)
        events: tuple[PunctureEvent, ...] = ()
        if self._feel is not None:
            events = self._feel.step(self._hub_depth_mm, duration_s)
            self._push_mm = self._feel.push_mm
            self.peak_force_n = max(self.peak_force_n, abs(self._feel.state.force_n))
            self.peak_tip_force_n = max(self.peak_tip_force_n, self._feel.state.tip_force_n)
        if bends and self._shape is not None:
            self._channel.cut(
                self._tissue_at_tip_mm, self._shape.tip_way, self._depth_in_tissue_mm, self._steered_per_mm()
            )
        return events

    def _steered_per_mm(self) -> FloatArray:
        """(3,) curvature of the path that the tip cuts now."""
        if self._feel is None:
            return np.zeros(3)
        curvature = curvature_per_m(
            self._shaft, self._mechanics.tip, self._feel.state.tip_force_n, self._mechanics.side_stiffness_pa
        )
        return 1e-3 * curvature * self._side

    def _left_in(self, channel: NeedleChannel, body: BodyState | None = None) -> ShaftShape:
        """The needle that its channel alone holds, in a body or at rest."""
        points = channel.points_mm if body is None else _from_skin(body, channel.points_mm)
        return ShaftShape.left_in(points, channel.steered_per_mm, self._shaft, self._mechanics.side_stiffness_pa)

    def _leave(self) -> None:
        """The tip has come out through the skin."""
        self._channel = self._shape = self._feel = self.entry_at_rest_mm = None
        self._hub_depth_mm = self._push_mm = self.bend_mm = 0.0

    @property
    def _tissue_at_tip_mm(self) -> FloatArray:
        """(3,) in the body at rest."""
        if self._image is None:
            self._image = self._moved().back(self.tip_mm[None])[0]
        return self._image - self._push_mm * self._axis

    @property
    def _depth_in_tissue_mm(self) -> float:
        follows = self._mechanics.bends or self._mechanics.feels
        return self._hub_depth_mm - self._push_mm if follows else self.depth_mm

    def _moved(self) -> BodyState:
        if self._body is None:
            raise OptionError("a needle has no place in the body before its first step")
        return self._body


def _from_skin(body: BodyState, points_mm: FloatArray) -> FloatArray:
    """Places now of points (n, 3) at rest of which the first lies in the skin, which does not slide."""
    return np.concatenate([body.carry(points_mm[:1], inside=False), body.carry(points_mm[1:])])
