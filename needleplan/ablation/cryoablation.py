"""Cryoablation: ice about probes that freeze, thaw and freeze again.

The bioheat equation in enthalpy form with the Kirchhoff flux (bioheat.enthalpy): latent heat of the tissue's water
over its freezing range, conductivity and heat capacity of ice, no perfusion in frozen tissue. Probes hold their
wall at a temperature that falls linearly to the probe's own; in a thaw nothing is held, and blood and tissue warm
the ice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from needleplan.ablation.contract import Quantity, ZoneModel, ZonePrediction
from needleplan.ablation.criteria import ColdestTemperatureCriterion, CriterionBand
from needleplan.ablation.empty_zone import nothing
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.heating import Delivery, HeatCourse, HeatOptions
from needleplan.ablation.needle_contact import NeedleCells, NeedlePart, needle_cells
from needleplan.ablation.preparation import physics_by_name, prepared_course, refuse_switching
from needleplan.ablation.schedule import Firing, check_alike, check_apart, check_times, firings
from needleplan.ablation.tissue_map import TissueMap, homogeneous
from needleplan.devices.applicator_physics import CryoProbe
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.grid import ScalarField
from needleplan.plan import Insertion

#: While a probe cools down its wall is set anew that often.
_RAMP_STEP_S = 5.0
#: Edge of the visible ice.
ICE_EDGE_C = -0.5


@dataclass(frozen=True, slots=True)
class FreezeProtocol:
    """Freezes and the thaws between them.

    Attributes:
        freezes_s: length of each freeze.
        thaws_s: length of the passive thaw between one freeze and the next.
    """

    freezes_s: tuple[float, ...] = (600.0, 600.0)
    thaws_s: tuple[float, ...] = (300.0,)

    def __post_init__(self) -> None:
        if not self.freezes_s or len(self.thaws_s) != len(self.freezes_s) - 1:
            raise PhysicsError("a freeze protocol needs one thaw between every two freezes, and one freeze or more")
        if not all(np.isfinite(time) and time > 0 for time in (*self.freezes_s, *self.thaws_s)):
            raise PhysicsError("every freeze and thaw of a protocol must last longer than 0 s")

    @property
    def total_s(self) -> float:
        """Length of all freezes and thaws."""
        return sum(self.freezes_s) + sum(self.thaws_s)


class CryoModel(ZoneModel):
    """Zones of cryoprobes by the freezing bioheat equation.

    An ablation's duration is one freeze where no protocol is given; with one, it must be the protocol's whole
    length.

    Args:
        options: how the heat is computed; ``perfusion_factor`` scales the blood's warming, which vessels that
            narrow in the cold reduce (full perfusion makes the ice of liver and kidney too small).
        protocol: freezes and thaws.
        delivery: one probe after the other, or all together.
        tissue: name of the tissue about the probes where no map is given.
    """

    def __init__(
        self,
        options: HeatOptions | None = None,
        protocol: FreezeProtocol | None = None,
        delivery: Delivery = Delivery.SIMULTANEOUS,
        tissue: str = "liver",
    ) -> None:
        refuse_switching(delivery, "cryoprobes")
        self.options = options or HeatOptions()
        self.protocol = protocol
        self.delivery = delivery
        self.tissue = builtin_tissues().tissue(tissue)

    @property
    def name(self) -> str:
        """See ZoneModel."""
        freezes = "-".join(f"{time:g}" for time in self.protocol.freezes_s) if self.protocol else "one"
        return (
            f"cryoablation bioheat ({self.delivery}, freezes {freezes} s, {self.options.spacing_mm:g} mm, "
            f"{self.tissue.name})"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        return (
            "The lethal isotherm of -40 C is a convention: published ones reach from -16 to -40 C, and the visible "
            "ice reaches about a centimetre further.",
            f"Where no tissue map is given the tissue is endless {self.tissue.name}; narrowing of vessels in the "
            "cold is not modelled but can be stated as a perfusion factor below 1.",
        )

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel."""
        check_times(insertions)
        probes = physics_by_name(insertions, CryoProbe, "cryoprobe")
        groups = firings(insertions, self.delivery)
        cycles = min(2, len(self.protocol.freezes_s)) if self.protocol else 1
        band = self.options.criteria or cryo_criteria(cycles)
        freezes = len(self.protocol.freezes_s) if self.protocol else 1
        for criterion in band.all:
            if isinstance(criterion, ColdestTemperatureCriterion) and criterion.cycles > freezes:
                raise PhysicsError(
                    f"the criterion {criterion.name} asks for {criterion.cycles} freezes, but the protocol has "
                    f"{freezes}"
                )
        check_alike(groups)
        for group in groups:
            for firing in group:
                self._check(firing, probes[firing.insertion.applicator])
        if not groups:
            return nothing(band.central.words)
        around = tissue or homogeneous(self.tissue)
        parts = [[_part(firing, probes) for firing in group] for group in groups]
        for together in parts:
            check_apart(together)
        options = self.options
        lengths = {name: one.active_length_mm for name, one in probes.items()}
        course = prepared_course(
            insertions,
            (part for together in parts for part in together),
            lengths,
            around,
            options,
            band,
            freezing=True,
        )
        domain = course.domain
        for turn, (group, together) in enumerate(zip(groups, parts, strict=True)):
            if turn:
                course.advance(options.interval_s)
            physics = [probes[firing.insertion.applicator] for firing in group]
            self._freeze(course, group, physics, needle_cells(domain.grid, together))
        return self._prediction(course, cycles)

    def _check(self, firing: Firing, probe: CryoProbe) -> None:
        if firing.ablation.power_w is not None:
            raise DeviceError(f"applicator {probe.name} takes no power: it holds its own temperature")
        if self.protocol is not None and abs(firing.ablation.duration_s - self.protocol.total_s) > 1e-6:
            raise DeviceError(
                f"the freeze protocol lasts {self.protocol.total_s:g} s, but the ablation of {probe.name} "
                f"{firing.ablation.duration_s:g} s"
            )

    def _freeze(
        self, course: HeatCourse, group: tuple[Firing, ...], physics: list[CryoProbe], cells: NeedleCells
    ) -> None:
        protocol = self.protocol or FreezeProtocol((group[0].ablation.duration_s,), ())
        targets = np.array([probe.probe_temperature_c for probe in physics])
        ramps = np.array([probe.ramp_s for probe in physics])
        for number, freeze_s in enumerate(protocol.freezes_s):
            if number:
                course.hold_needles(None, np.empty(0))
                course.advance(protocol.thaws_s[number - 1])
                course.next_freeze()
                if course.solver.coldest_c < ICE_EDGE_C:
                    course.notes.append(
                        f"A thaw of {protocol.thaws_s[number - 1]:g} s leaves ice: two freezes without a full "
                        "thaw between them may kill like one."
                    )
            # A probe is as warm as the tissue about it before it freezes again.
            began = course.mean_c(cells)
            elapsed = 0.0
            while elapsed < freeze_s - 1e-9:
                ramping = elapsed < ramps.max()
                step_s = min(_RAMP_STEP_S if ramping else freeze_s, freeze_s - elapsed)
                # The wall's mean over the step.
                share = np.clip((elapsed + 0.5 * step_s) / ramps, 0.0, 1.0) if ramping else np.ones(len(ramps))
                course.hold_needles(cells, began + share * (targets - began))
                course.advance(step_s)
                elapsed += step_s
        course.hold_needles(None, np.empty(0))

    def _prediction(self, course: HeatCourse, cycles: int) -> ZonePrediction:
        grid = course.domain.grid
        coldest = ScalarField(grid, course.coldest_dose_c(1))
        zones = {
            f"{level:g} C at any time": FieldZone.at_most(coldest, level) for level in (-40.0, -20.0, ICE_EDGE_C)
        }
        notes: tuple[str, ...] = ()
        if cycles < 2:
            notes = ("Only one freeze: the lethal isotherm of -40 C is meant for two.",)
        ice = zones[f"{ICE_EDGE_C:g} C at any time"]
        ice.require_inside_grid()
        result = course.prediction((Quantity("ice ball", ice.volume_ml, "ml"),), notes, {"coldest_c": coldest})
        return replace(result, other_zones={**result.other_zones, **zones})


def cryo_criteria(cycles: int) -> CriterionBand:
    """-40 °C in each of ``cycles`` freezes (Gage and Baust, Cryobiology 1998;37:171), between -20 and -50 °C.

    -20 °C in two freezes is the optimistic end of the literature; -50 °C is the colder end that the same review
    names.
    """
    return CriterionBand(
        ColdestTemperatureCriterion(-40.0, cycles),
        ColdestTemperatureCriterion(-20.0, cycles),
        ColdestTemperatureCriterion(-50.0, cycles),
    )


def _part(firing: Firing, probes: dict[str, CryoProbe]) -> NeedlePart:
    probe = probes[firing.insertion.applicator]
    return firing.part(probe.active_length_mm, probe.diameter_mm)
