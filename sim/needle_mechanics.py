"""What of a needle's mechanics is simulated, and what a needle feels from the skin on."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from sim.layered_force import LayeredForce
from sim.needle_bending import SIDE_STIFFNESS_PA, STEEL_PA, NeedleShaft, NeedleTip
from sim.tissue_force import ForceLimits, PunctureEvent, TissueLayer, TissueState, stop_reason
from sim.tissue_layers import BodyWall, layers_along
from sim.tissue_parameters import TissueParameters


@dataclass(frozen=True, slots=True)
class NeedleMechanics:
    """What of a needle's mechanics is simulated.

    Attributes:
        side_stiffness_pa: force of tissue on a metre of needle for a metre to the side.
        young_modulus_pa: of the shaft.
        bore_share: inner over outer diameter; 0.7 is an assumption: applicators are tubes with a limp inside.
        tip: shape of the tip.
        roll_rad: which way a bevel steers: turn about the needle from the first of ``perpendicular_axes``.
        limits: forces that stop an insertion.
        wall: what is assumed between skin and first structure.
        bends: False for a straight needle.
        feels: False for no forces and no tissue pushed.
    """

    side_stiffness_pa: float = SIDE_STIFFNESS_PA
    young_modulus_pa: float = STEEL_PA
    bore_share: float = 0.7
    tip: NeedleTip = field(default_factory=NeedleTip)
    roll_rad: float = 0.0
    limits: ForceLimits = field(default_factory=ForceLimits)
    wall: BodyWall = field(default_factory=BodyWall)
    bends: bool = True
    feels: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.side_stiffness_pa < math.inf:
            raise OptionError(
                f"the stiffness of tissue to the side must be above 0 Pa, not {self.side_stiffness_pa:g}"
            )
        if not math.isfinite(self.roll_rad):
            raise OptionError(f"the roll of a needle must be a finite angle, not {self.roll_rad:g} rad")
        if self.tip.bevel_angle_rad is not None and not (self.bends and self.feels):
            raise OptionError(
                "a bevel steers by the force on it: let the needle bend and feel, or give it a symmetric tip"
            )
        self.shaft(1e-3)  # refuses an impossible bore or modulus

    @classmethod
    def rigid(cls) -> "NeedleMechanics":
        """A straight needle that feels nothing."""
        return cls(bends=False, feels=False)

    def shaft(self, outer_diameter_m: float) -> NeedleShaft:
        """The shaft of a needle of this outer diameter."""
        return NeedleShaft(outer_diameter_m, self.bore_share * outer_diameter_m, self.young_modulus_pa)


class NeedleFeel:
    """The force along one needle since it passed the skin.

    Args:
        queries: the anatomy at rest.
        entry_at_rest_mm: (3,) where it passed the skin, in the body at rest.
        aim_at_rest_mm: (3,) the tissue at the planned depth along its axis at that moment.
        depth_mm: that depth in the room.
        diameter_m: of the shaft.
        mechanics: limits and body wall.
        parameters: figures of the tissues; the built-in ones where None.

    Attributes:
        state: of needle and tissue.
        push_mm: how far the tissue at the tip is pushed along the needle.
    """

    def __init__(
        self,
        queries: AnatomyQueries,
        entry_at_rest_mm: ArrayLike,
        aim_at_rest_mm: ArrayLike,
        depth_mm: float,
        diameter_m: float,
        mechanics: NeedleMechanics,
        parameters: TissueParameters | None,
    ) -> None:
        found = layers_along(queries, entry_at_rest_mm, aim_at_rest_mm, wall=mechanics.wall)
        # Skin and aim are as deep as they are in the room now, what lies between them in proportion.
        stretch = depth_mm / float(np.linalg.norm(np.subtract(aim_at_rest_mm, entry_at_rest_mm)))
        layers = [TissueLayer(stretch * a.start_m, a.tissue, a.membrane, a.structure) for a in found]
        self._model = LayeredForce(layers, diameter_m, parameters)
        self._mechanics, self._shaft = mechanics, mechanics.shaft(diameter_m)
        self.state: TissueState = self._model.start(0.0)
        self.push_mm = 0.0

    @property
    def layers(self) -> tuple[TissueLayer, ...]:
        """What lies along the needle, by depth behind the skin."""
        return self._model.layers

    def step(self, hub_depth_mm: float, duration_s: float) -> tuple[PunctureEvent, ...]:
        """The hub has moved on to a depth relative to the tissue; what gave way."""
        self.state, events = self._model.step(self.state, 1e-3 * hub_depth_mm, duration_s)
        self.push_mm = hub_depth_mm - 1e3 * self.state.tip_in_tissue_m
        return events

    def stop_reason(self, free_mm: float) -> str | None:
        """Why the needle must not be pushed on, in words; None while it may.

        Args:
            free_mm: length between guide and skin, which must not buckle where the needle bends.
        """
        reason = stop_reason(self.state, self._mechanics.limits)
        if reason is not None or not self._mechanics.bends or free_mm <= 0.0:
            return reason
        bears = self._shaft.buckling_n(1e-3 * free_mm)
        if self.state.force_n <= bears:
            return None
        return (
            f"the force along the needle is {self.state.force_n:.1f} N, and {free_mm:.0f} mm between guide and "
            f"skin buckle at {bears:.1f} N"
        )
