"""A study as values: its cases, its cells, how hard each plan is sought, and what is written."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from needleplan.anatomy.phantom_parameters import PhantomParameters
from needleplan.app.study.reason_text import NO_REASON, plain_reason
from needleplan.devices.catalogue import DeviceCatalogue
from needleplan.io.value_json import to_json

#: Version of the study's folder.
STUDY_VERSION = 1
#: How the reason of a row begins that has a plan but lacks what a later stage had to tell.
NO_CHANCES, NOT_CARRIED_OUT = "no chances", "not carried out"


@dataclass(frozen=True, slots=True)
class Breathing:
    """How the patient breathes in rehearsals.

    Attributes:
        name: what the study calls it.
        peak_mm: amplitude at the target.
        period_s: length of a breath.
        irregular: True where no two breaths are alike.
    """

    name: str = "quiet"
    peak_mm: float = 15.0
    period_s: float = 4.0
    irregular: bool = False


@dataclass(frozen=True, slots=True)
class StudyCase:
    """One patient of a study.

    Attributes:
        name: unique in the study; good as the name of a folder.
        manifest: the case.toml of a patient in files; None for a phantom.
        data: data folder of the manifest; None where it names its files beside itself.
        phantom: parameters of a built-in patient; None for one in files.
        seed: of the phantom's vessels and shapes.
        voxel_mm: size of the phantom's voxels.
    """

    name: str
    manifest: Path | None = None
    data: Path | None = None
    phantom: PhantomParameters | None = None
    seed: int = 0
    voxel_mm: float = 2.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of the factors; every case is taken through every cell.

    Attributes:
        device: name of the applicator.
        power_w: the only generator power that is offered; None offers all of the device's table.
        margin_mm: margin about the target that must be covered.
        probes: no more insertions than this; None sets the planner's own limit.
        strategy: how breathing is met in rehearsals; None rehearses nothing.
        robot: the robot that carries the plan out, by name or TOML; None asks none.
        error_budget: preset from which chances are drawn; None draws none.
        breathing: of rehearsals.
        robot_hash: SHA-256 (hex) of what the robot of a TOML consists of, by which the cell knows it wherever the
            file lies; empty for the library's own robots. It is no factor.
    """

    device: str = "generic-mwa-2450"
    power_w: float | None = None
    margin_mm: float = 5.0
    probes: int | None = None
    strategy: str | None = None
    robot: str | None = None
    error_budget: str | None = None
    breathing: Breathing = field(default_factory=Breathing)
    robot_hash: str = ""

    @property
    def content(self) -> dict[str, Any]:
        """The values that decide about results: a robot of one's own by its content, not by where it lies."""
        values: dict[str, Any] = to_json(self)
        return values | {"robot": values.pop("robot_hash") or self.robot}

    @property
    def robot_label(self) -> str | None:
        """The robot in tables: its name, or that of its TOML with the beginning of its hash."""
        if not self.robot_hash or self.robot is None:
            return self.robot
        return f"{Path(self.robot).name} {self.robot_hash[:8]}"

    @property
    def name(self) -> str:
        """Good as the name of a file, and the same for the same values in every study."""
        text = json.dumps(self.content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard each plan is sought; the same for all cells.

    Attributes:
        entry_spacing_mm: distance between entries at first.
        aims: number of points in the target that paths aim at.
        search_paths: candidate paths that refinement may add; 0 leaves the first layout as it is.
        paths_per_aim: feasible paths that are offered to the solver for each aim.
        points: balls that stand for the boundary of target plus margin.
        refine: True where the chosen needles are moved continuously afterwards.
        scenarios: errors drawn for the chances of a cell with an error budget.
        runs: rehearsals of a cell with a strategy.
        most_nodes: nodes of the search tree of each exact search, which end it at the same place on every machine.
        time_limit_s: of each exact search; one that reaches it depends on the machine, and its row says so.
    """

    entry_spacing_mm: float = 14.0
    aims: int = 20
    search_paths: int = 60_000
    paths_per_aim: int = 12
    points: int = 6_000
    refine: bool = True
    scenarios: int = 200
    runs: int = 1
    most_nodes: int = 2_000
    time_limit_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written besides the tables of results and of times, which always are.

    Attributes:
        plans: plan.json of every cell that has a plan, each in a plan folder that the other commands read.
        analysis: comparisons and indicators as CSV, and figures.
        report: report.html of the study.
    """

    plans: bool = True
    analysis: bool = True
    report: bool = True


@dataclass(frozen=True, slots=True)
class Study:
    """All that decides about the results of a study.

    Attributes:
        name: of the study.
        cases: in their order; names differ.
        cells: in their order; all differ.
        factors: names of the fields of ``Cell`` that take more than one value, in the order of the file.
        effort: how hard plans are sought.
        outputs: what is written.
        seed: of every random draw: that of a case is drawn from it and the case's name, and all cells of the case
            share it, so that they compare under the same draws.
        source: the text of the study file, as it was read.
        devices: the user's own applicators, known beside the built-in ones; None where there are none.
    """

    name: str
    cases: tuple[StudyCase, ...]
    cells: tuple[Cell, ...]
    factors: tuple[str, ...] = ()
    effort: Effort = field(default_factory=Effort)
    outputs: Outputs = field(default_factory=Outputs)
    seed: int = 0
    source: str = ""
    devices: DeviceCatalogue | None = None

    def digest(self) -> str:
        """SHA-256 (hex) of what decides about the results: all but name, outputs, text, and where files lie."""
        cases = [
            [case.name, None if case.phantom is None else case.phantom.canonical_text, case.seed, case.voxel_mm]
            for case in self.cases
        ]
        cells = [cell.content for cell in self.cells]
        content = [STUDY_VERSION, cases, cells, to_json(self.effort), self.seed]
        if self.devices is not None:
            content.append(self.devices.digest)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one case in one cell. Figures are None where there is nothing to have them.

    Nothing here depends on the machine or on how long it took; that is in ``Times``.

    Attributes:
        case: name of the case in the study.
        case_hash: content hash of the case; empty where the case could not be read.
        phantom: True for a built-in patient.
        cell: name of the cell.
        device: factor, see ``Cell``; so are the next seven.
        power_w: factor.
        margin_mm: factor.
        probes: factor.
        strategy: factor.
        robot: factor.
        error_budget: factor.
        breathing: name of the factor's value.
        breathing_peak_mm: its amplitude.
        seed: of the case's random draws.
        status: complete, partial or infeasible as of the plan; failed where there is no plan because of an error.
        reason: why it is not complete, or why a later stage has nothing to tell; empty where all is there.
        time_limited: True where a search ended by its time limit, so that another machine may find another plan.
        target_ml: volume of the target.
        target_depth_mm: distance of the target's centroid from the entry surface.
        target_vessel_mm: least distance of the target's surface from a vessel.
        candidates: paths that were looked at.
        feasible: paths that satisfy every hard constraint.
        insertions: punctures of the plan.
        ablations: deliveries of energy.
        energy_s: time of energy, one delivery after the other.
        lower_bound: fewest insertions that may exist, as proven.
        target_coverage_fraction: share of the target in the predicted zones.
        margin_coverage_fraction: share of target plus margin.
        minimal_margin_mm: least signed margin.
        over_ablation_ml: zone outside target plus margin.
        zone_ml: volume of the zones.
        deepest_mm: greatest depth of a needle.
        least_clearance_mm: least distance of a needle from a structure.
        least_clearance_of: that structure.
        chance_covered: probability that the target is covered under the error budget; low and high follow.
        chance_covered_low: lower confidence bound.
        chance_covered_high: upper confidence bound.
        chance_margin: probability that the margin is reached.
        chance_margin_low: lower confidence bound.
        chance_margin_high: upper confidence bound.
        chance_harm: greatest probability of the harms that the budget tells; 0 where none is possible.
        chance_harm_of: that harm, in words; None where none is possible.
        reached: insertions that the robot reaches.
        robot_s: time of its motion.
        runs: rehearsals that were made.
        procedure_s: mean time of a rehearsal and of energy together.
        tip_error_mm: mean distance of the tips from the plan at rest.
        largest_tip_error_mm: greatest of them.
        rehearsed_coverage_fraction: mean share of the target in the zones of the executed needles.
        rehearsed_margin_fraction: mean share of target plus margin.
        rehearsed_minimal_margin_mm: mean least margin.
        structures_punctured: structures, other than the organ and the target, punctured in all runs, counted.
        plan_file: of its plan folder, relative to the study's; empty where none was written.
    """

    case: str
    case_hash: str
    phantom: bool
    cell: str
    device: str
    power_w: float | None
    margin_mm: float
    probes: int | None
    strategy: str | None
    robot: str | None
    error_budget: str | None
    breathing: str
    breathing_peak_mm: float
    seed: int
    status: str
    reason: str = ""
    time_limited: bool = False
    target_ml: float | None = None
    target_depth_mm: float | None = None
    target_vessel_mm: float | None = None
    candidates: int | None = None
    feasible: int | None = None
    insertions: int | None = None
    ablations: int | None = None
    energy_s: float | None = None
    lower_bound: float | None = None
    target_coverage_fraction: float | None = None
    margin_coverage_fraction: float | None = None
    minimal_margin_mm: float | None = None
    over_ablation_ml: float | None = None
    zone_ml: float | None = None
    deepest_mm: float | None = None
    least_clearance_mm: float | None = None
    least_clearance_of: str | None = None
    chance_covered: float | None = None
    chance_covered_low: float | None = None
    chance_covered_high: float | None = None
    chance_margin: float | None = None
    chance_margin_low: float | None = None
    chance_margin_high: float | None = None
    chance_harm: float | None = None
    chance_harm_of: str | None = None
    reached: int | None = None
    robot_s: float | None = None
    runs: int | None = None
    procedure_s: float | None = None
    tip_error_mm: float | None = None
    largest_tip_error_mm: float | None = None
    rehearsed_coverage_fraction: float | None = None
    rehearsed_margin_fraction: float | None = None
    rehearsed_minimal_margin_mm: float | None = None
    structures_punctured: int | None = None
    plan_file: str = ""

    @classmethod
    def failed(cls, case: StudyCase, cell: Cell, seed: int, reason: str, case_hash: str = "") -> "Row":
        """The row of a case that an error kept from being planned; the reason becomes a plain one."""
        told = plain_reason(reason, case, cell) or NO_REASON
        return cls(**cls.factors_of(case, cell, seed, case_hash), status="failed", reason=told)

    @staticmethod
    def factors_of(case: StudyCase, cell: Cell, seed: int, case_hash: str) -> dict[str, Any]:
        """The fields that case and cell decide, by name."""
        values = {item.name: getattr(cell, item.name) for item in dataclasses.fields(cell)}
        breathing = values.pop("breathing")
        del values["robot_hash"]
        return values | {
            "case": case.name,
            "case_hash": case_hash,
            "phantom": case.phantom is not None,
            "cell": cell.name,
            "robot": cell.robot_label,
            "breathing": breathing.name,
            "breathing_peak_mm": breathing.peak_mm,
            "seed": seed,
        }


@dataclass(frozen=True, slots=True)
class Times:
    """What one case in one cell cost; it differs from machine to machine and from run to run.

    Attributes:
        case: name of the case.
        cell: name of the cell.
        prepare_s: time to read or build the patient and his search structures; 0 where an earlier cell had done it.
        search_s: time to find paths; 0 where shared with an earlier cell.
        plan_s: time of the rest of the planning; 0 where shared.
        chances_s: time of chances.
        robot_s: time of base and routes.
        rehearse_s: time of rehearsals.
        processor_s: processor time of all that this cell computed.
        memory_mb: largest memory of the worker so far.
        worker: process that computed it.
    """

    case: str
    cell: str
    prepare_s: float = 0.0
    search_s: float = 0.0
    plan_s: float = 0.0
    chances_s: float = 0.0
    robot_s: float = 0.0
    rehearse_s: float = 0.0
    processor_s: float = 0.0
    memory_mb: float = 0.0
    worker: str = ""
