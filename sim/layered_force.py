"""Needle forces in layers: press a membrane, puncture it, cut, rub along the shaft, rest, relax, withdraw.

After Okamura, Simone & O'Leary (IEEE TBME 2004;51:1707): before a puncture the tip feels a1 u + a2 u², after it
a constant cutting force, and the shaft friction in proportion to its inserted length, static and dynamic and
growing with speed. Their friction (a modified Karnopp model) lets a shaft stick at rest; here the tissue
stretches until it slips, and static friction weakens over a little slip, so that the force stays continuous.
Tissue relaxes: half of every elastic force is carried by two Maxwell branches. In a channel that was cut before
nothing is cut again (Azar & Hayward, ISBMS 2008, tell the work of cutting from the rest by a second insertion).
All forces are proportional to the needle's diameter, as those of a flat punch and of friction on a surface; for
cutting and puncture that is an assumption.

After a puncture the tissue springs back along the needle with a time constant and without a force of its own,
so the tip goes on deeper into tissue while the driver rests.
"""

import math
from collections.abc import Sequence

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only
from sim.layered_force_kernel import (
    DEEPEST,
    DEPTH,
    FIGURES,
    HEADER,
    PASSED,
    PER_LAYER,
    SAME_DEPTH_M,
    TIP,
    TOUCHING,
    advance,
)
from sim.tissue_force import Contact, PunctureEvent, TissueForce, TissueLayer, TissueState
from sim.tissue_parameters import Membrane, TissueParameters, builtin_parameters

#: Longer motions and times are divided: punctures are found to the first, relaxation is followed to the second.
PART_M, PART_S = 2e-5, 2e-3
#: A longer step is no step of a simulation.
LONGEST_STEP_S = 60.0
#: Needles thinner or thicker than this are not meant.
DIAMETERS_M = (1e-4, 1e-2)


class LayeredForce(TissueForce):
    """Published fits for each layer, in one passive model.

    Args:
        layers: along the path, the first at the skin; starts ascending.
        shaft_diameter_m: outer diameter of the needle.
        parameters: figures of membranes and tissues; the built-in ones where None.

    Raises:
        OptionError: no layers, layers out of order, an unknown tissue or membrane, or an impossible diameter.
    """

    def __init__(
        self, layers: Sequence[TissueLayer], shaft_diameter_m: float, parameters: TissueParameters | None = None
    ) -> None:
        if not layers:
            raise OptionError("a needle's force needs at least one layer of tissue")
        starts = np.array([layer.start_m for layer in layers])
        if not np.isfinite(starts).all() or (np.diff(starts) <= 0.0).any():
            raise OptionError("the layers along a needle must begin one behind the other, at finite depths")
        if not DIAMETERS_M[0] <= shaft_diameter_m <= DIAMETERS_M[1]:
            raise OptionError(
                f"the shaft's diameter must lie between {DIAMETERS_M[0]:g} and {DIAMETERS_M[1]:g} m, "
                f"not {shaft_diameter_m:g}"
            )
        chosen = parameters or builtin_parameters()
        shared = chosen.shared
        scale = shaft_diameter_m / shared.reference_diameter_m
        none = Membrane(0.0, 0.0, 0.0)
        walls = [chosen.membrane(layer.membrane) if layer.membrane else none for layer in layers]
        tissues = [chosen.tissue(layer.tissue) for layer in layers]
        self._layers = tuple(layers)
        self._diameter_m = float(shaft_diameter_m)
        self._starts = read_only(starts)
        self._membranes = read_only(
            [[scale * w.linear_n_m, scale * w.quadratic_n_m2, scale * w.puncture_n] for w in walls]
        )
        self._cutting = read_only([scale * tissue.cutting_n for tissue in tissues])
        self._friction = read_only([scale * tissue.friction_share for tissue in tissues])
        self._figures = read_only(
            [
                shared.static_in_n_m,
                shared.static_out_n_m,
                shared.dynamic_in_n_m,
                shared.dynamic_out_n_m,
                shared.viscous_in_n_s_m2,
                shared.viscous_out_n_s_m2,
                shared.shear_n_m2,
                scale * shared.cutting_stiffness_n_m,
                shared.weakening_m,
                shared.ageing_s,
                shared.recoil_s,
                shared.fast_share,
                shared.fast_s,
                shared.slow_share,
                shared.slow_s,
                shared.transition_m,
            ]
        )
        assert len(self._figures) == FIGURES

    @property
    def name(self) -> str:
        return f"layered force, {len(self._layers)} layers, {self._diameter_m * 1e3:g} mm needle"

    @property
    def layers(self) -> tuple[TissueLayer, ...]:
        return self._layers

    def start(self, depth_m: float = -1e-3) -> TissueState:
        first = float(self._starts[0])
        if not (math.isfinite(depth_m) and depth_m <= first):
            raise OptionError(f"a needle must start outside the tissue, at {first:g} m or before, not {depth_m:g}")
        memory = np.zeros(HEADER + PER_LAYER * len(self._layers))
        memory[DEPTH] = memory[TIP] = memory[DEEPEST] = depth_m
        memory[HEADER + 3 :: PER_LAYER] = 1.0
        memory.setflags(write=False)
        return TissueState(0.0, depth_m, depth_m, 0.0, 0.0, 0.0, 0.0, 0.0, Contact.OUTSIDE, -1, memory)

    def step(
        self, state: TissueState, depth_m: float, duration_s: float
    ) -> tuple[TissueState, tuple[PunctureEvent, ...]]:
        if not (math.isfinite(depth_m) and 0.0 < duration_s <= LONGEST_STEP_S):
            raise OptionError(
                f"a step needs a finite depth and a duration above 0 and up to {LONGEST_STEP_S:g} s, not "
                f"{depth_m:g} m in {duration_s:g} s"
            )
        travel = depth_m - state.depth_m
        parts = max(1, math.ceil(abs(travel) / PART_M), math.ceil(duration_s / PART_S))
        memory = state.memory.copy()
        events = np.empty((len(self._layers), 4))
        count, tip_force, friction, work = advance(
            memory, self._starts, self._membranes, self._cutting, self._friction, self._figures, depth_m,
            duration_s, parts, state.force_n, events,
        )  # fmt: skip
        memory.setflags(write=False)
        contact, layer = self._contact(memory, travel)
        tip = float(memory[TIP])
        after = TissueState(
            state.time_s + duration_s, depth_m, tip, 0.0 if layer < 0 else depth_m - tip, tip_force + friction,
            tip_force, friction, state.work_j + work, contact, layer, memory,
        )  # fmt: skip
        if not count:
            return after, ()
        return after, tuple(self._event(state, row) for row in events[:count])

    def _contact(self, memory: FloatArray, travel: float) -> tuple[Contact, int]:
        tip = float(memory[TIP])
        if memory[TOUCHING]:
            return Contact.INDENTING, int(memory[PASSED])
        if tip <= self._starts[0]:
            return Contact.OUTSIDE, -1
        layer = int(np.searchsorted(self._starts, tip, side="left")) - 1
        if travel == 0.0:
            return Contact.RESTING, layer
        if travel < 0.0:
            return Contact.WITHDRAWING, layer
        return (Contact.CUTTING if tip >= memory[DEEPEST] - SAME_DEPTH_M else Contact.SLIDING), layer

    def _event(self, before: TissueState, row: FloatArray) -> PunctureEvent:
        layer = int(row[0])
        return PunctureEvent(
            before.time_s + float(row[1]), float(row[2]), float(self._starts[layer]), layer,
            self._layers[layer].membrane, self._layers[layer].structure, float(row[3]),
        )  # fmt: skip
