"""One question of the zone command, checked: probes in a block of tissue, and where everything lies."""

import math
from argparse import Namespace
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.tissue_map import Cylinder, TissueMap, Vessel
from needleplan.devices.applicator_physics import (
    ApplicatorPhysics,
    LaserFibre,
    MicrowaveAntenna,
    RadiofrequencyElectrode,
    applicator_physics,
    builtin_applicator_physics,
)
from needleplan.devices.catalogue import Applicator, builtin_catalogue
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import OptionError
from needleplan.plan import Ablation, Insertion, vector3

#: Needles point to posterior, the tip of the first one at the origin; vessels lie to the patient's left.
DIRECTION = (0.0, 1.0, 0.0)
#: Depth at which the tips lie, and how far a vessel goes on both ways.
_DEPTH_MM, _VESSEL_HALF_LENGTH_MM = 120.0, 200.0
#: Places of up to four parallel probes, to the left and to the head, in units of their distance.
_PLACES = {
    1: ((0.0, 0.0),),
    2: ((0.0, 0.0), (-1.0, 0.0)),
    3: ((0.0, 0.0), (-1.0, 0.0), (-0.5, -math.sqrt(0.75))),
    4: ((0.0, 0.0), (-1.0, 0.0), (-1.0, -1.0), (0.0, -1.0)),
}
#: Time of energy where none is asked for; probes that freeze do so twice, with a thaw between. The pulses of an
#: ablation take no time of their own.
DEFAULT_DURATION_S = {"MWA": 300.0, "RFA": 720.0, "laser": 600.0, "cryo": 600.0, "IRE": 1.0, "ECT": 1.0}
_DEFAULT_FREEZES, _DEFAULT_THAW_S = 2, 300.0


@dataclass(frozen=True, slots=True)
class ZoneQuestion:
    """What the zone command is asked, checked.

    Attributes:
        applicator: name of the applicator.
        power_w: of the generator; None where it controls the power, or takes none.
        duration_s: of the energy of each probe, or of one freeze.
        model: ``solver``, ``fast`` or ``table``.
        setting: of zone tables, ``in_vivo`` or ``ex_vivo``.
        tissue: name of the tissue.
        perfusion_factor: on its perfusion.
        spacing_mm, reach_mm: of the solver's grid; the model's own where None.
        delivery: of several probes; the model's own where None.
        probes: number of parallel probes.
        distance_mm: between neighbouring ones; None for one probe.
        vessel_diameter_mm, vessel_distance_mm: of a vessel beside the first probe, from axis to axis; None without.
        vessel_across: whether it runs across the needle, at the middle of its active part, or along it.
        voltage_v: between neighbouring electrodes for pulses; the protocol's voltage over distance where None.
        pulses: number of pulses of each pair; the protocol's where None.
        freezes: number of freezes.
        thaw_s: passive thaw between two of them.
    """

    applicator: str
    power_w: float | None = None
    duration_s: float | None = None
    model: str = "solver"
    setting: str = "in_vivo"
    tissue: str = "liver"
    perfusion_factor: float = 1.0
    spacing_mm: float | None = None
    reach_mm: float | None = None
    delivery: str | None = None
    probes: int = 1
    distance_mm: float | None = None
    vessel_diameter_mm: float | None = None
    vessel_distance_mm: float | None = None
    vessel_across: bool = False
    voltage_v: float | None = None
    pulses: int | None = None
    freezes: int | None = None
    thaw_s: float | None = None

    def __post_init__(self) -> None:
        """Raises OptionError, DeviceError or PhysicsError with what is wrong and which option would mend it."""
        for name in (
            "power_w", "duration_s", "spacing_mm", "reach_mm", "distance_mm", "vessel_diameter_mm",
            "vessel_distance_mm", "voltage_v", "pulses", "freezes", "thaw_s",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise OptionError(f"{_option(name)} must be a positive number, but is {value:g}")
        if not (math.isfinite(self.perfusion_factor) and self.perfusion_factor >= 0):
            raise OptionError(f"--perfusion-factor must be zero or more, but is {self.perfusion_factor:g}")
        if self.probes not in _PLACES:
            raise OptionError(f"--probes must be from 1 to {max(_PLACES)}, but is {self.probes}")
        if (self.distance_mm is None) != (self.probes == 1):
            needs = "needs --distance-mm" if self.probes > 1 else "is for --probes 2 or more"
            raise OptionError(f"{'--probes' if self.probes > 1 else '--distance-mm'} {needs}")
        if (self.vessel_diameter_mm is None) != (self.vessel_distance_mm is None):
            raise OptionError("a vessel needs both --vessel-diameter-mm and --vessel-distance-mm")
        if self.vessel_across and self.vessel_diameter_mm is None:
            raise OptionError("--vessel needs --vessel-diameter-mm and --vessel-distance-mm")
        builtin_tissues().tissue(self.tissue)
        modality = self.device.modality
        self._check_modality(modality in ("IRE", "ECT"), ("voltage_v", "pulses"), "electric pulses")
        self._check_modality(modality == "cryo", ("freezes", "thaw_s"), "cryoprobes")
        if modality in ("IRE", "ECT") and self.duration_s is not None:
            raise OptionError(f"{self.applicator} gives pulses: their number is --pulses, not --duration-s")
        if self.power_w is None and isinstance(self.physics, MicrowaveAntenna | LaserFibre):
            raise OptionError(f"{self.applicator} takes a power in watts: give --power-w")
        if self.thaw_s is not None and self.freeze_count == 1:
            raise OptionError("--thaw-s is the time between two freezes: ask for --freezes 2 or more")
        if self.model != "solver":
            self._check_simple_model()
        self._check_clearances()

    @property
    def device(self) -> Applicator:
        """The applicator; raises DeviceError for an unknown one."""
        return builtin_catalogue().applicator(self.applicator)

    @property
    def physics(self) -> ApplicatorPhysics | None:
        """What a solver knows of the applicator, which a table need not know: None then."""
        if self.model == "table":
            return None
        if self.device.name not in builtin_applicator_physics().names:
            raise OptionError(f"of {self.applicator} nothing but a zone table is known: ask for --model table")
        return applicator_physics(self.applicator)

    @property
    def energy_s(self) -> float:
        """Time of energy of each probe, or of one freeze."""
        return DEFAULT_DURATION_S[self.device.modality] if self.duration_s is None else self.duration_s

    @property
    def freeze_count(self) -> int:
        """Freezes of a cryoprobe."""
        return _DEFAULT_FREEZES if self.freezes is None else self.freezes

    @property
    def pause_s(self) -> float:
        """Thaw between two freezes."""
        return _DEFAULT_THAW_S if self.thaw_s is None else self.thaw_s

    @property
    def treatment_s(self) -> float:
        """Duration of each ablation: of all freezes and thaws for cryoprobes that a solver computes."""
        if self.device.modality != "cryo" or self.model == "table":
            return self.energy_s
        return self.freeze_count * self.energy_s + (self.freeze_count - 1) * self.pause_s

    @property
    def insertions(self) -> tuple[Insertion, ...]:
        """The probes, side by side and level."""
        step = self.distance_mm or 0.0
        found = []
        for number, (left, head) in enumerate(_PLACES[self.probes], start=1):
            tip = (left * step, 0.0, head * step)
            entry = (tip[0], -_DEPTH_MM, tip[2])
            found.append(
                Insertion(entry, tip, self.applicator, (Ablation(tip, self.power_w, self.treatment_s),), {}, number)
            )
        return tuple(found)

    @property
    def vessel(self) -> Cylinder | None:
        """The vessel beside the first probe."""
        if self.vessel_diameter_mm is None or self.vessel_distance_mm is None:
            return None
        middle = np.array([self.vessel_distance_mm, -self.device.tip_to_centre_mm, 0.0])
        way = np.array((0.0, 0.0, 1.0) if self.vessel_across else DIRECTION) * _VESSEL_HALF_LENGTH_MM
        return Cylinder(vector3(middle - way), vector3(middle + way), 0.5 * self.vessel_diameter_mm)

    @property
    def block(self) -> TissueMap:
        """Endless tissue with the vessel in it."""
        tissue = builtin_tissues().tissue(self.tissue)
        if self.vessel is None:
            return TissueMap(tissue)
        return TissueMap(tissue, vessels=(Vessel("vessel", self.vessel, self.vessel_diameter_mm),))

    def _check_modality(self, fits: bool, names: tuple[str, ...], whose: str) -> None:
        for name in names:
            if getattr(self, name) is not None and not fits:
                raise OptionError(f"{_option(name)} is for {whose}, which {self.applicator} does not give")

    def _check_simple_model(self) -> None:
        """Tables and closed forms know no vessels; a table knows no perfusion and no grid either."""
        if self.vessel_diameter_mm is not None:
            raise OptionError(f"--model {self.model} knows no vessels: ask for --model solver")
        for name in ("spacing_mm", "reach_mm", "delivery"):
            if getattr(self, name) is not None:
                raise OptionError(f"{_option(name)} is for --model solver, not for {self.model}")
        pulsed = self.device.modality in ("IRE", "ECT")
        if self.perfusion_factor != 1.0 and (self.model == "table" or pulsed):
            raise OptionError(f"--perfusion-factor has no part in --model {self.model}: ask for --model solver")
        if self.model == "table" and self.tissue != "liver":
            raise OptionError("--tissue has no part in --model table, whose zones are those of its source")

    def _check_clearances(self) -> None:
        """No two probes overlap, and no needle pierces the vessel."""
        device = self.device
        if self.distance_mm is not None and self.distance_mm <= device.shaft_diameter_mm:
            raise OptionError(
                f"--distance-mm must be larger than the probe's diameter, {device.shaft_diameter_mm:g} mm, but is "
                f"{self.distance_mm:g}"
            )
        if self.vessel_diameter_mm is None or self.vessel_distance_mm is None:
            return
        radius = device.radius_mm
        physics = self.physics
        if isinstance(physics, RadiofrequencyElectrode) and physics.deployed_diameter_mm is not None:
            radius = 0.5 * physics.deployed_diameter_mm
        least = radius + 0.5 * self.vessel_diameter_mm
        if self.vessel_distance_mm <= least:
            raise OptionError(
                f"the needle would pierce the vessel: a vessel of {self.vessel_diameter_mm:g} mm needs a "
                f"--vessel-distance-mm (axis to axis) above {least:g}, but it is {self.vessel_distance_mm:g}"
            )


def question_from(options: Namespace) -> ZoneQuestion:
    """The question that the command's options ask; raises as ``ZoneQuestion``."""
    return ZoneQuestion(
        applicator=options.applicator,
        power_w=options.power_w,
        duration_s=options.duration_s,
        model=options.model,
        setting=options.setting,
        tissue=options.tissue,
        perfusion_factor=options.perfusion_factor,
        spacing_mm=options.spacing_mm,
        reach_mm=options.reach_mm,
        delivery=options.delivery,
        probes=options.probes,
        distance_mm=options.distance_mm,
        vessel_diameter_mm=options.vessel_diameter_mm,
        vessel_distance_mm=options.vessel_distance_mm,
        vessel_across=options.vessel == "across",
        voltage_v=options.voltage_v,
        pulses=options.pulses,
        freezes=options.freezes,
        thaw_s=options.thaw_s,
    )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
