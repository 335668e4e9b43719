"""Figures of needle forces in tissue, from package data: every one with its source, most of them assumptions."""

import dataclasses
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from needleplan.devices import sheet
from needleplan.errors import OptionError

COLUMNS = ("tissue", "property", "value", "unit", "source", "provenance", "confidence")
#: Rows of the table under this name hold for all tissues.
SHARED = "all"


@dataclass(frozen=True, slots=True)
class Membrane:
    """A surface that a needle presses in before it gives way: force ``a1 u + a2 u²`` at the indentation u.

    Attributes:
        linear_n_m: a1.
        quadratic_n_m2: a2.
        puncture_n: force on the tip at which it gives way.
    """

    linear_n_m: float
    quadratic_n_m2: float
    puncture_n: float


@dataclass(frozen=True, slots=True)
class BulkTissue:
    """What a needle cuts and rubs against.

    Attributes:
        cutting_n: constant force on the tip while it cuts.
        friction_share: its friction over that of liver.
    """

    cutting_n: float
    friction_share: float


@dataclass(frozen=True, slots=True)
class SharedFigures:
    """Figures that hold for all tissues; friction is that of liver, of a metre of shaft.

    Attributes:
        reference_diameter_m: outer diameter of the needle that all forces belong to.
        static_in_n_m: friction from which a resting shaft begins to slip inward.
        static_out_n_m: the same outward.
        dynamic_in_n_m: friction while it slips inward, at no speed.
        dynamic_out_n_m: the same outward.
        viscous_in_n_s_m2: what friction inward gains with speed.
        viscous_out_n_s_m2: the same outward.
        shear_n_m2: stiffness with which tissue holds a metre of shaft until it slips.
        cutting_stiffness_n_m: stiffness with which the force of cutting builds up.
        weakening_m: slip over which static friction falls to dynamic friction by a factor e.
        ageing_s: rest in which it recovers by as much.
        recoil_s: time constant in which tissue springs back after a puncture.
        fast_share: share of every elastic force that relaxes with ``fast_s``.
        fast_s: time constant.
        slow_share: share that relaxes with ``slow_s``; what is left never relaxes.
        slow_s: time constant.
        transition_m: way over which one cutting force passes into the next where no membrane lies between.
    """

    reference_diameter_m: float
    static_in_n_m: float
    static_out_n_m: float
    dynamic_in_n_m: float
    dynamic_out_n_m: float
    viscous_in_n_s_m2: float
    viscous_out_n_s_m2: float
    shear_n_m2: float
    cutting_stiffness_n_m: float
    weakening_m: float
    ageing_s: float
    recoil_s: float
    fast_share: float
    fast_s: float
    slow_share: float
    slow_s: float
    transition_m: float

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            may_vanish = item.name.startswith("viscous") or item.name.endswith("share")
            if not (np.isfinite(value) and (value > 0.0 or (may_vanish and value == 0.0))):
                raise OptionError(f"the tissue figure {item.name} must be above 0, not {value:g}")
        lasting = 1.0 - self.fast_share - self.slow_share
        if not lasting > 0.0:
            raise OptionError("the relaxing shares of the tissue force must sum to less than 1")
        for way in ("in", "out"):
            drop = getattr(self, f"static_{way}_n_m") - getattr(self, f"dynamic_{way}_n_m")
            # Steeper, the shaft would break loose with a jump of the force.
            if not 0.0 <= drop < self.weakening_m * self.shear_n_m2 * lasting:
                raise OptionError(
                    f"static friction {way}ward must lie above dynamic friction by less than the weakening length "
                    "times the lasting shear stiffness"
                )


@dataclass(frozen=True, slots=True)
class TissueParameters:
    """All figures of the layered force.

    Attributes:
        membranes: by name.
        tissues: by name.
        shared: for all tissues.
    """

    membranes: dict[str, Membrane]
    tissues: dict[str, BulkTissue]
    shared: SharedFigures

    def __post_init__(self) -> None:
        for name, membrane in self.membranes.items():
            values = dataclasses.astuple(membrane)
            stiff = membrane.linear_n_m + membrane.quadratic_n_m2 > 0.0
            if not (np.isfinite(values).all() and min(values) >= 0.0 and stiff and membrane.puncture_n > 0.0):
                raise OptionError(f"the membrane {name!r} needs a stiffness and a puncture force above 0")
        for name, tissue in self.tissues.items():
            values = dataclasses.astuple(tissue)
            if not (np.isfinite(values).all() and tissue.cutting_n >= 0.0 and tissue.friction_share > 0.0):
                raise OptionError(f"{name!r} needs a cutting force of 0 or more and a friction above 0")

    def membrane(self, name: str) -> Membrane:
        """The membrane of that name; raises OptionError with the names there are."""
        if name not in self.membranes:
            raise OptionError(f"no membrane is named {name!r}: choose one of {', '.join(self.membranes)}")
        return self.membranes[name]

    def tissue(self, name: str) -> BulkTissue:
        """The tissue of that name; raises OptionError with the names there are."""
        if name not in self.tissues:
            raise OptionError(f"no tissue is named {name!r}: choose one of {', '.join(self.tissues)}")
        return self.tissues[name]

    def rate_independent(self) -> "TissueParameters":
        """The same without viscosity and relaxation: forces then do not depend on the speed."""
        shared = dataclasses.replace(
            self.shared, viscous_in_n_s_m2=0.0, viscous_out_n_s_m2=0.0, fast_share=0.0, slow_share=0.0
        )
        return dataclasses.replace(self, shared=shared)

    def scattered(self, rng: np.random.Generator, deviation: float = 0.3) -> "TissueParameters":
        """Another patient's tissues: stiffness, puncture, cutting and friction each times a log-normal factor.

        Factors have the median 1 and are independent for each membrane, each tissue and each kind. That forces
        vary by about a third between patients is an assumption.

        Args:
            rng: draws the factors, the same number whatever the deviation.
            deviation: standard deviation of each factor's logarithm, 0 to 1.

        Raises:
            OptionError: an impossible deviation.
        """
        if not 0.0 <= deviation <= 1.0:
            raise OptionError(f"the deviation between patients must lie between 0 and 1, not {deviation:g}")
        membranes, tissues = {}, {}
        for name, membrane in self.membranes.items():
            stiffness, puncture = (float(f) for f in np.exp(deviation * rng.standard_normal(2)))
            membranes[name] = Membrane(
                membrane.linear_n_m * stiffness, membrane.quadratic_n_m2 * stiffness, membrane.puncture_n * puncture
            )
        for name, tissue in self.tissues.items():
            cutting, friction = (float(f) for f in np.exp(deviation * rng.standard_normal(2)))
            tissues[name] = BulkTissue(tissue.cutting_n * cutting, tissue.friction_share * friction)
        return TissueParameters(membranes, tissues, self.shared)


@cache
def builtin_parameters() -> TissueParameters:
    """The figures that ship with needleplan; every row of ``tissue_forces.csv`` names its source."""
    return parse_parameters(files("sim").joinpath("tissue_forces.csv").read_text("utf-8"), "tissue_forces.csv")


def parse_parameters(text: str, name: str) -> TissueParameters:
    """Figures from a table with the columns ``COLUMNS``.

    Raises:
        DeviceError: a column, number or source is missing or impossible, with its line.
        OptionError: a figure is missing, unknown, doubled or impossible.
    """
    found: dict[str, dict[str, float]] = {}
    for where, row in sheet.rows(text, name, COLUMNS):
        values = found.setdefault(sheet.words(row, "tissue", where), {})
        what = sheet.words(row, "property", where)
        if what in values:
            raise OptionError(f"{where}: {what} is given twice")
        sheet.words(row, "source", where)
        sheet.choice(row, "provenance", where, sheet.PROVENANCES)
        sheet.choice(row, "confidence", where, sheet.CONFIDENCES)
        values[what] = sheet.positive(row, "value", where, least=0.0)
    membranes: dict[str, Membrane] = {}
    tissues: dict[str, BulkTissue] = {}
    shared: SharedFigures | None = None
    for tissue, values in found.items():
        kind: type[Membrane | BulkTissue | SharedFigures] = (
            SharedFigures if tissue == SHARED else Membrane if "puncture_n" in values else BulkTissue
        )
        wanted = {item.name for item in dataclasses.fields(kind)}
        if wanted != set(values):
            odd = ", ".join(sorted(wanted ^ set(values)))
            raise OptionError(f"{name}: {tissue} has missing or unknown figures: {odd}")
        made = kind(**values)
        if isinstance(made, SharedFigures):
            shared = made
        elif isinstance(made, Membrane):
            membranes[tissue] = made
        else:
            tissues[tissue] = made
    if shared is None:
        raise OptionError(f"{name}: the figures for {SHARED!r} tissues are missing")
    return TissueParameters(membranes, tissues, shared)
