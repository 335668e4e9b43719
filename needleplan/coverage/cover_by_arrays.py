"""The fewest electrodes for pulses whose arrays cover target plus margin."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.array_layouts import MOST_ELECTRODES, array_layouts
from needleplan.coverage.array_search import ArrayOptions, ArraySearch, array_directions
from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.electrode_arrays import ArrayCoverage, ElectrodeArray
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion, target_region
from needleplan.devices.applicator_physics import (
    ApplicatorPhysicsTable,
    PulseElectrode,
    builtin_applicator_physics,
)
from needleplan.devices.catalogue import Applicator
from needleplan.devices.thresholds import field_threshold
from needleplan.errors import DeviceError, OptionError
from needleplan.plan import Insertion
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import TrajectoryTable


@dataclass(frozen=True, slots=True, eq=False)
class ArrayCovering:
    """A coverage by arrays.

    Attributes:
        problem: the arrays that could be taken.
        selection: those that were.
        arrays: where they stand.
        groups: for each array its electrodes as insertions; the i-th ablations of a group are one round of
            pulses, and a group is drawn out before the next is placed.
        notes: arrangements, voltages and rules, a sentence each.
    """

    problem: ArrayCoverage
    selection: PathSelection
    arrays: tuple[ElectrodeArray, ...]
    groups: tuple[tuple[Insertion, ...], ...]
    notes: tuple[str, ...]

    @property
    def insertions(self) -> tuple[Insertion, ...]:
        """All electrodes, group by group."""
        ordered = [one for group in self.groups for one in group]
        return tuple(dataclasses.replace(one, order=place) for place, one in enumerate(ordered, start=1))

    @property
    def complete(self) -> bool:
        """True where every ball lies in the zone of one array, which covers the solid."""
        return bool(self.problem.coverable.all()) and not len(self.selection.uncovered)

    @property
    def bound(self) -> float:
        """No choice of the arrays laid out covers what they can cover with fewer electrodes."""
        return self.selection.lower_bound

    @property
    def claim(self) -> str:
        """What the bound speaks of."""
        left = int((~self.problem.coverable).sum())
        what = "all balls" if not left else f"the balls that arrays can destroy, all but {left} of them"
        return (
            f"no choice of the {self.problem.laid_out} arrays laid out covers {what} with fewer than "
            f"{self.bound:g} electrodes, each ball within the zone of one array"
        )


def cover_by_arrays(
    ranked: TrajectoryTable,
    queries: AnatomyQueries,
    constraints: Sequence[TrajectoryConstraint],
    applicator: Applicator,
    protocol: PulseProtocol | None = None,
    options: CoverageOptions | None = None,
    protection: Protection | None = None,
    region: TargetRegion | None = None,
    solver: CoverageSolver | None = None,
    *,
    arrays: ArrayOptions | None = None,
    tissue: str = "liver",
    table: ApplicatorPhysicsTable | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> ArrayCovering:
    """Choose arrays of electrodes: fewest electrodes, then fewest rounds of pulses, then least outside volume.

    An array that holds all of the region alone is sought first, with few electrodes before many. Only where several
    arrays might need fewer electrodes than it are arrays for parts of the region laid out.

    Args:
        ranked: screened and ranked paths; the feasible ones give the directions.
        queries: the anatomy.
        constraints: what every electrode must keep by itself.
        applicator: the electrodes.
        protocol: the pulses.
        options: margin, number of insertions and how many stand at once.
        protection: structures that no zone must come near; None protects none.
        region: what must be destroyed; target and margin where None.
        solver: chooses the arrays; HiGHS where None.
        arrays: how densely arrays are laid out.
        tissue: whose threshold of the field, at constant conductivity, is taken.
        table: the vendor's rules; the built-in ones where None.
        progress: called with what is being done and the fraction done.

    Raises:
        OptionError: no path is feasible, paths are curved, or fewer than two electrodes are allowed.
        DeviceError: the applicator gives no pulses, no threshold is known, or no arrangement keeps the vendor's
            rules.
    """
    options, arrays = options or CoverageOptions(), arrays or ArrayOptions()
    protocol = protocol or PulseProtocol()
    electrode = (table or builtin_applicator_physics()).applicator(applicator.name)
    if not isinstance(electrode, PulseElectrode):
        raise DeviceError(f"the applicator {applicator.name} gives no electric pulses")
    most = min(arrays.most_electrodes, options.maximum_insertions, options.needles_at_once or MOST_ELECTRODES)
    if most < 2:
        raise OptionError(
            "electric pulses need two electrodes at once: allow as many insertions and needles at once"
        )
    layouts = array_layouts(electrode, protocol, arrays.spacing_count, most)
    if not layouts:
        raise DeviceError(
            f"no arrangement of {applicator.name} keeps the vendor's rules at "
            f"{protocol.voltage_to_distance_v_cm:g} V/cm"
        )
    threshold = field_threshold(applicator.modality, tissue, "constant").field_v_cm
    region = region or target_region(queries, options.margin_mm, options.point_count)
    search = ArraySearch(
        queries,
        tuple(constraints),
        applicator,
        protection or Protection(()),
        region,
        arrays,
        electrode,
        protocol,
        threshold,
        array_directions(ranked, queries, arrays.direction_step_deg, arrays.most_directions),
    )
    problem = search.problem(layouts, options.maximum_insertions, progress or (lambda what, done: None))
    solver = solver or IntegerProgramSolver(options.time_limit_s, most_nodes=options.most_nodes)
    selection = solver.solve(problem, options.maximum_insertions)
    chosen, entries = search.trimmed(problem, selection)
    groups = tuple(
        array.insertions(entry, applicator.name, protocol) for array, entry in zip(chosen, entries, strict=True)
    )
    return ArrayCovering(problem, selection, chosen, groups, _notes(chosen, electrode, protocol, threshold))


def _notes(
    chosen: Sequence[ElectrodeArray], electrode: PulseElectrode, protocol: PulseProtocol, threshold_v_cm: float
) -> tuple[str, ...]:
    notes = []
    for number, array in enumerate(chosen, start=1):
        pairs = array.layout.pairs(electrode)
        pulsed = [pair for pair in pairs if pair.may_be_pulsed]
        given = {(round(pair.spacing_mm, 1), round(pair.voltage_v(protocol))): 0 for pair in pulsed}
        for pair in pulsed:
            given[round(pair.spacing_mm, 1), round(pair.voltage_v(protocol))] += 1
        voltages = ", ".join(
            f"{count} at {apart:g} mm with {volts} V" for (apart, volts), count in sorted(given.items())
        )
        wide = len(pairs) - len(pulsed)
        left = f"; {wide} farther apart than {electrode.greatest_spacing_mm:g} mm get no pulses" if wide else ""
        rounds = "one round" if array.rounds == 1 else f"{array.rounds} rounds, drawn back in between"
        notes.append(
            f"Array {number}: {array.layout.count} electrodes as a {array.layout.name}, {rounds}; pairs: "
            f"{voltages}{left}."
        )
    if chosen:
        notes.append(
            f"Every pulsed pair keeps the vendor's rules: {electrode.least_spacing_mm:g} to "
            f"{electrode.greatest_spacing_mm:g} mm apart, parallel, {electrode.exposure_mm:g} mm bare with tips "
            f"level, no more than {electrode.maximum_voltage_v:g} V; whether it stays below "
            f"{electrode.maximum_current_a:g} A the field solver tells, not the closed form."
        )
        notes.append(
            f"Zones are Cassini ovals at {threshold_v_cm:g} V/cm, constant conductivity; tissue, vessels and the "
            "rise of the conductivity are for the field solver to judge."
        )
    if len(chosen) > 1:
        notes.append(
            "Each array is placed, pulsed and drawn out before the next: a model must be asked for one array at a "
            "time."
        )
    return tuple(notes)
