"""A treatment as a monitor sees it: run by a solver for any perfusion, efficiency and conductivity."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.heating import Delivery, HeatOptions, HeatSnapshot
from needleplan.ablation.tissue_map import TissueMap
from needleplan.errors import DeviceError, PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.plan import Insertion

#: Levels beyond this decide nothing about the zone's edge; polynomials through them would ring.
LEVEL_CAP = 15.0


@dataclass(frozen=True, slots=True)
class Factors:
    """Factors on what a treatment is computed with.

    Attributes:
        perfusion: on every tissue's perfusion.
        efficiency: on every applicator's power.
        conductivity: on every tissue's thermal conductivity.
    """

    perfusion: float = 1.0
    efficiency: float = 1.0
    conductivity: float = 1.0

    def __post_init__(self) -> None:
        for name in ("perfusion", "efficiency", "conductivity"):
            value = getattr(self, name)
            if not (np.isfinite(value) and (value > 0 or (value == 0 and name == "perfusion"))):
                raise PhysicsError(f"the factor on the {name} must be positive, but is {value:g}")


@dataclass(frozen=True, slots=True, eq=False)
class RecordedCourse:
    """What a run left behind.

    Attributes:
        grid: of the fields.
        times_s: (t,) from 0 to the longest time, with the energy flowing.
        temperature_c: (t, cells) float32.
        level: (t, cells) float32 lethality by the central criterion, between minus and plus ``LEVEL_CAP``.
        planned_s: when the energy ends by the plan.
        end_level: (cells,) lethality after the planned time and the cool-down.
        volume_ml: of the zone then.
    """

    grid: Grid
    times_s: FloatArray
    temperature_c: NDArray[np.float32]
    level: NDArray[np.float32]
    planned_s: float
    end_level: NDArray[np.float32]
    volume_ml: float


@dataclass(frozen=True, slots=True, eq=False)
class Treatment:
    """Insertions in tissue with the model that computes their heat.

    Attributes:
        model: makes the zone model, for instance the class MicrowaveModel itself.
        insertions: as planned.
        tissue: map about them.
        options: how heat is computed; coarse grids (2 to 2.5 mm) are what makes monitoring quick. ``observe`` must
            be None, ``observe_every_s`` is the time between the fields that are kept.
        delivery: how the insertions' ablations follow one another.
    """

    model: Callable[[HeatOptions, Delivery], ZoneModel]
    insertions: tuple[Insertion, ...]
    tissue: TissueMap
    options: HeatOptions = field(default_factory=lambda: HeatOptions(spacing_mm=2.5))
    delivery: Delivery = Delivery.SIMULTANEOUS

    def __post_init__(self) -> None:
        if self.options.observe is not None:
            raise PhysicsError("options.observe of a treatment must be None: its runs are observed by the monitor")
        if not any(insertion.ablations for insertion in self.insertions):
            raise PhysicsError("a treatment needs at least one ablation")

    @property
    def controlled(self) -> bool:
        """Whether a generator chooses the power of some ablation, so that no factor on it can be found."""
        return any(one.power_w is None for insertion in self.insertions for one in insertion.ablations)

    def changed(self, factors: Factors) -> tuple[tuple[Insertion, ...], TissueMap, HeatOptions]:
        """Insertions, tissue and options with the factors worked in.

        Raises:
            DeviceError: a factor on a power that the generator chooses.
        """
        if factors.efficiency != 1.0 and self.controlled:
            raise DeviceError(
                "a generator that chooses its power by temperature has no efficiency to correct: state the power "
                "in watts, or no prior of the efficiency"
            )
        return (
            scaled_power(self.insertions, factors.efficiency),
            scaled_conductivity(self.tissue, factors.conductivity),
            replace(self.options, perfusion_factor=self.options.perfusion_factor * factors.perfusion),
        )

    def recorded(self, factors: Factors, longest_s: float | None = None) -> RecordedCourse:
        """A run to the planned end with the cool-down, and one to a longer time where that is asked for.

        Args:
            factors: what to compute with.
            longest_s: time until which the course is wanted; None for the planned end.

        Raises:
            PhysicsError: a longest time before the planned end, or see ZoneModel.predict.
            DeviceError: see ZoneModel.predict.
        """
        insertions, tissue, options = self.changed(factors)
        snapshots: list[HeatSnapshot] = []
        watched = replace(options, observe=snapshots.append)
        prediction = self.model(watched, self.delivery).predict(insertions, tissue)
        planned_s = prediction.quantity("time simulated").value - options.cool_down_s
        if longest_s is not None:
            if longest_s < planned_s:
                raise PhysicsError(f"the longest time must not lie before the planned end at {planned_s:g} s")
            # The planned run is looked at all the same, since the steps end where one looks.
            snapshots.clear()
            longer = self.lengthened(insertions, longest_s - planned_s)
            self.model(replace(watched, cool_down_s=0.0), self.delivery).predict(longer, tissue)
        until_s = longest_s or planned_s
        kept = [snapshot for snapshot in snapshots if snapshot.time_s <= until_s + 1e-6]
        if not kept:
            raise PhysicsError(
                f"observe_every_s of {options.observe_every_s:g} s leaves no field of a treatment of "
                f"{planned_s:g} s"
            )
        cells = kept[0].temperature_c.size
        temperature = np.empty((len(kept) + 1, cells), dtype=np.float32)
        level = np.empty_like(temperature)
        temperature[0], level[0] = tissue.body_temperature_c, -LEVEL_CAP
        for n, snapshot in enumerate(kept, start=1):
            temperature[n] = snapshot.temperature_c.ravel()
            level[n] = np.clip(snapshot.level.ravel(), -LEVEL_CAP, LEVEL_CAP)
        return RecordedCourse(
            kept[0].grid,
            np.array([0.0, *(snapshot.time_s for snapshot in kept)]),
            temperature,
            level,
            planned_s,
            np.clip(prediction.fields["lethality"].values.ravel(), -LEVEL_CAP, LEVEL_CAP),
            prediction.quantity("volume").value,
        )

    def on_spacing(self, spacing_mm: float) -> "Treatment":
        """The treatment on another grid, whose domain holds the centres of this one's."""
        reach_mm = self.options.reach_mm + max(self.options.spacing_mm, spacing_mm)
        return replace(self, options=replace(self.options, spacing_mm=spacing_mm, reach_mm=reach_mm))

    def lengthened(self, insertions: tuple[Insertion, ...], extra_s: float) -> tuple[Insertion, ...]:
        """The insertions with the ablations that end last made longer."""
        counts = [len(insertion.ablations) for insertion in insertions]
        if self.delivery is Delivery.SEQUENTIAL:
            final = max(n for n, count in enumerate(counts) if count)
            last = {final: counts[final] - 1}
        else:
            last = {n: count - 1 for n, count in enumerate(counts) if count == max(counts)}
        longest = max(insertions[n].ablations[k].duration_s for n, k in last.items())
        changed = list(insertions)
        for n, k in last.items():
            ablations = list(insertions[n].ablations)
            if ablations[k].duration_s == longest:
                ablations[k] = replace(ablations[k], duration_s=longest + extra_s)
                changed[n] = replace(insertions[n], ablations=tuple(ablations))
        return tuple(changed)


def scaled_power(insertions: tuple[Insertion, ...], factor: float) -> tuple[Insertion, ...]:
    """The insertions with a factor on every stated power."""
    if factor == 1.0:
        return insertions
    return tuple(
        replace(
            insertion,
            ablations=tuple(
                one if one.power_w is None else replace(one, power_w=one.power_w * factor)
                for one in insertion.ablations
            ),
        )
        for insertion in insertions
    )


def scaled_conductivity(tissue: TissueMap, factor: float) -> TissueMap:
    """The map with a factor on every tissue's thermal conductivity."""
    if factor == 1.0:
        return tissue

    background, *others = (
        one.changed(thermal_conductivity_w_m_k=one.thermal_conductivity_w_m_k * factor) for one in tissue.tissues
    )
    regions = tuple(replace(region, tissue=own) for region, own in zip(tissue.regions, others, strict=True))
    return replace(tissue, background=background, regions=regions)
