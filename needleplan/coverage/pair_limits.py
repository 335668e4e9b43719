"""What is demanded of any two needles that stand in the patient together."""

import math
from dataclasses import dataclass, fields

import numpy as np

from needleplan.devices.applicator_physics import (
    ApplicatorPhysicsTable,
    PulseElectrode,
    builtin_applicator_physics,
)
from needleplan.devices.catalogue import Applicator
from needleplan.errors import OptionError
from needleplan.trajectory.constraints.clearance import LARGEST_LIMIT_MM
from needleplan.trajectory.limit_ranges import LIMIT_RANGES, require_limit
from needleplan.trajectory.measured import HANDLE_MM
from needleplan.trajectory.screening import PathLimits

#: Modalities whose electrodes work in pairs.
PULSE_MODALITIES = ("IRE", "ECT")
#: Least distance of the axes of active parts that deliver heat or cold at the same time. For cryoprobes the lower
#: end of the 10 to 15 mm that PMC4850244 proposes for clinical use after isotherms of 1 to 4 needles in gel; for
#: the others an assumption: every zone of the tables is wider than this, so nearer needles hardly add to it.
ACTIVE_DISTANCE_MM = 10.0
#: Ranges of the numbers that limits on single paths do not have.
_RANGES = {
    "active_distance_mm": (0.0, 100.0),
    "outside_distance_mm": (0.0, LARGEST_LIMIT_MM),
    "handle_radius_mm": (0.0, 100.0),
    "handle_length_mm": (0.0, 500.0),
    "guide_approach_mm": (0.0, 300.0),
}
_OPTIONAL = ("active_distance_mm", "handle_radius_mm", "guide_radius_mm")
#: Limits that must be above zero where they are stated.
_ABOVE_ZERO = ("handle_radius_mm", "handle_length_mm", "guide_radius_mm", "guide_length_mm", "guide_standoff_mm")
_PATH_DEFAULTS = PathLimits()
#: Slack of distances against the limits: needles set exactly to a limit keep it.
_SLACK_MM = 1e-6


@dataclass(frozen=True, slots=True)
class PairLimits:
    """What two needles must keep to stand in the patient together; all are this library's own starting values.

    Attributes:
        needle_distance_mm: least distance of the shafts inside the body, surface to surface.
        entry_spacing_mm: least distance of the punctures, middle to middle.
        active_distance_mm: least distance of the axes of parts that deliver energy at the same time; None where
            they deliver one after the other.
        outside_distance_mm: least distance, surface to surface, of whatever stands outside to the other needle.
        handle_radius_mm: radius of the handle behind the usable shaft. The default lets needles 10 mm apart stand
            side by side, as electrodes for pulses do; state the device's own. None where nothing but the shaft
            stands out.
        handle_length_mm: length of that handle.
        guide_radius_mm: radius of the guide that places a needle and is taken off before the next; None without.
        guide_length_mm: length of that guide.
        guide_standoff_mm: distance of its near end from the entry, along the needle.
        guide_approach_mm: way that guide and needle come along the axis before the puncture.
        electrode: electrode for pulses whose vendor's rules hold for a pair; None for other devices.
        wide_pairs_left_out: True where electrodes farther apart than the vendor's greatest distance may stand
            together and are given no pulses between them, as across a square of four.
    """

    needle_distance_mm: float = 2.0
    entry_spacing_mm: float = 5.0
    active_distance_mm: float | None = None
    outside_distance_mm: float = 0.0
    handle_radius_mm: float | None = 5.0
    handle_length_mm: float = HANDLE_MM
    guide_radius_mm: float | None = None
    guide_length_mm: float = _PATH_DEFAULTS.guide_length_mm
    guide_standoff_mm: float = _PATH_DEFAULTS.guide_standoff_mm
    guide_approach_mm: float = 50.0
    electrode: PulseElectrode | None = None
    wide_pairs_left_out: bool = False

    def __post_init__(self) -> None:
        for item in fields(self):
            name, value = item.name, getattr(self, item.name)
            if name in LIMIT_RANGES:
                require_limit(name, value, optional=name in _OPTIONAL)
            elif name in _RANGES:
                _require(name, value)
            if name in _ABOVE_ZERO and value is not None and not value > 0.0:
                raise OptionError(f"the {_words(name)} must be above 0 mm, not {value:g}")
        if self.guide_radius_mm is not None and not self.guide_standoff_mm > self.guide_radius_mm:
            raise OptionError(
                f"a needle guide of {self.guide_radius_mm:g} mm radius touches the skin at a stand-off of "
                f"{self.guide_standoff_mm:g} mm: the stand-off must be greater than the radius"
            )
        if self.electrode is not None and not isinstance(self.electrode, PulseElectrode):
            raise OptionError(f"the electrode of a pair must be one for pulses, not {self.electrode!r}")
        if self.wide_pairs_left_out and self.electrode is None:
            raise OptionError("wide pairs are left out among electrodes for pulses alone: state the electrode too")

    @property
    def inside_demand_mm(self) -> float:
        """Least gap of shafts inside the body, rounding allowed for; shafts that touch never keep it."""
        return max(self.needle_distance_mm - _SLACK_MM, _SLACK_MM)

    @property
    def outside_demand_mm(self) -> float:
        """Least gap of what stands outside, rounding allowed for; handles may lie against each other at 0."""
        return self.outside_distance_mm - _SLACK_MM

    @classmethod
    def for_applicator(
        cls,
        applicator: Applicator,
        limits: PathLimits | None = None,
        *,
        together: bool = False,
        table: ApplicatorPhysicsTable | None = None,
    ) -> "PairLimits":
        """Limits for needles of one kind.

        Args:
            applicator: the needles.
            limits: what is demanded of single paths; its needle distance, entry spacing and guide hold for pairs as
                well where they are stated.
            together: True where the needles deliver at the same time.
            table: the vendor's rules of pulse electrodes; the built-in ones where None.

        Raises:
            DeviceError: the table says nothing of a pulse electrode.
        """
        stated: dict[str, float | None] = {}
        if limits is not None:
            for name in ("needle_distance_mm", "entry_spacing_mm", "guide_radius_mm"):
                if getattr(limits, name) is not None:
                    stated[name] = getattr(limits, name)
            stated["guide_length_mm"] = limits.guide_length_mm
            stated["guide_standoff_mm"] = limits.guide_standoff_mm
        electrode = None
        if applicator.modality in PULSE_MODALITIES:
            found = (table or builtin_applicator_physics()).applicator(applicator.name)
            electrode = found if isinstance(found, PulseElectrode) else None
        elif together:
            stated["active_distance_mm"] = ACTIVE_DISTANCE_MM
        return cls(**stated, electrode=electrode)  # type: ignore[arg-type]


def _words(name: str) -> str:
    return name.removesuffix("_mm").replace("_", " ")


def _require(name: str, value: object) -> None:
    if value is None and name in _OPTIONAL:
        return
    or_none = " or None" if name in _OPTIONAL else ""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise OptionError(f"the {_words(name)} must be a number{or_none}, not {value!r}")
    least, most = _RANGES[name]
    if not (math.isfinite(value) and least <= value <= most):
        raise OptionError(f"the {_words(name)} must be between {least:g} and {most:g} mm, not {value:g}")
