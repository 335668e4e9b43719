"""One cell of a case: plan, chances, robot, rehearsals. What cells have in common is computed once a case.

Paths are shared by all cells of a device, a plan by all cells of the same device, power, margin, number of probes
and error budget, a route by all cells of a plan and robot. A plan does not know the robot: robots are compared on
the same plans, and ``reached`` tells how much of a plan each carries out.
"""

import csv
import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.app.study.case_patient import StudyPatient
from needleplan.app.study.cell_rehearsals import CarriedOut, carry_out, rehearse_cell
from needleplan.app.study.study import NO_CHANCES, NOT_CARRIED_OUT, Cell, Effort
from needleplan.app.study.worker_room import WorkerFileError, room_told
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.time_limits import searches_ended_by_time
from needleplan.devices.catalogue import (
    APPLICATOR_COLUMNS,
    ZONE_COLUMNS,
    DeviceCatalogue,
    builtin_catalogue,
    builtin_catalogue_with,
)
from needleplan.errors import DeviceError, NeedleplanError
from needleplan.plan import Likelihood, Plan
from needleplan.planning import FoundPaths, PlanningOptions, find_paths, make_plan
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.search import SearchOptions
from needleplan.uncertainty.likelihoods import ErrorOptions, likelihoods

#: Fields of a cell that a plan depends on.
PLAN_FIELDS = ("device", "power_w", "margin_mm", "probes", "error_budget")

Made = TypeVar("Made")


def plan_name(cell: Cell) -> str:
    """Name of the folder of the cell's plan; the same for all cells that share it."""
    values = {name: getattr(cell, name) for name in PLAN_FIELDS}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, eq=False)
class CellPlan:
    """A plan as the cells that share it see it.

    Attributes:
        plan: the plan, without times, so that it is the same on every machine.
        zone_model: predicts its zones.
        time_limited: True where a search was ended by its time, so that another machine may find another plan.
    """

    plan: Plan
    zone_model: EllipsoidTableModel
    time_limited: bool


@dataclass(slots=True)
class Stages:
    """Values of a case that its cells share, errors included, each made when it is first asked for.

    Attributes:
        made: values and errors by key.
        times_s: time that each kind of stage took for the cell at hand.
    """

    made: dict[Hashable, Any] = field(default_factory=dict)
    times_s: dict[str, float] = field(default_factory=dict)

    def get(self, kind: str, key: Hashable, make: Callable[[], Made]) -> Made:
        """The value of that kind and key; what was raised when it was made is raised again."""
        whole = (kind, key)
        if whole not in self.made:
            start = time.perf_counter()
            try:
                self.made[whole] = make()
            except (NeedleplanError, ArithmeticError, LookupError, ValueError, RuntimeError) as error:
                self.made[whole] = error.with_traceback(None)
            self.times_s[kind] = self.times_s.get(kind, 0.0) + time.perf_counter() - start
        found = self.made[whole]
        if isinstance(found, Exception):
            raise found
        return found


def planning_options(cell: Cell, effort: Effort, seed: int) -> PlanningOptions:
    """How the cell's plan is sought; chances are drawn afterwards from the same options."""
    usual = PlanningOptions()
    probes = CoverageOptions().maximum_insertions if cell.probes is None else cell.probes
    refined_best = usual.search.refined_best if effort.search_paths else 0
    return PlanningOptions(
        applicator=cell.device,
        sampling=SamplingOptions(entry_spacing_mm=effort.entry_spacing_mm, aim_count=effort.aims),
        search=SearchOptions(usual.search.entry_levels, 0, effort.search_paths, refined_best),
        coverage=CoverageOptions(
            margin_mm=cell.margin_mm,
            maximum_insertions=probes,
            paths_per_aim=effort.paths_per_aim,
            point_count=effort.points,
            time_limit_s=effort.time_limit_s,
            most_nodes=effort.most_nodes,
        ),
        refine=effort.refine,
        seed=seed,
    )


@cache
def zone_model(device: str, power_w: float | None, devices: DeviceCatalogue | None = None) -> EllipsoidTableModel:
    """Zones of the built-in tables and a user's own, with the rows of one power alone where one is given.

    Raises:
        DeviceError: the device is unknown, or its table has no such power.
    """
    catalogue = builtin_catalogue() if devices is None else builtin_catalogue_with(devices)
    if power_w is None:
        return EllipsoidTableModel(catalogue)
    rows = catalogue.rows(device, "in_vivo")
    kept = tuple(row for row in rows if row.power_w == power_w)
    if not kept:
        powers = sorted({row.power_w for row in rows if row.power_w is not None})
        told = f"has {', '.join(f'{each:g}' for each in powers)} W" if powers else "leaves it to the generator"
        raise DeviceError(f"{device} has no zones of {power_w:g} W: its table {told}")
    others = tuple(row for row in catalogue.zones if row.applicator != device or row.setting != "in_vivo")
    return EllipsoidTableModel(dataclasses.replace(catalogue, zones=(*others, *kept)))


def catalogue_files(catalogue: DeviceCatalogue) -> tuple[bytes, bytes]:
    """applicators.csv and zones.csv from which ``load_catalogue`` reads the same tables."""
    return (
        _sheet(APPLICATOR_COLUMNS, ({"applicator": each.name, **_fields(each)} for each in catalogue.applicators)),
        _sheet(ZONE_COLUMNS, (_fields(row) for row in catalogue.zones)),
    )


def _fields(value: Any) -> dict[str, Any]:
    return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}


def _sheet(columns: tuple[str, ...], rows: Any) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = [row[name] for name in columns]
        words = {None: "", True: "yes", False: "no"}
        writer.writerow([words[each] if each is None or isinstance(each, bool) else each for each in values])
    return text.getvalue().encode()


@dataclass(frozen=True, slots=True, eq=False)
class CellResult:
    """What came of a cell.

    Attributes:
        plan: its plan, with the chances of its error budget.
        zone_model: predicts the plan's zones.
        time_limited: see ``CellPlan``.
        chances: of the plan under the error budget; empty without one.
        carried: what the robot and the rehearsals made of it.
        complaint: why a later stage than the plan has nothing to tell; empty where all have.
    """

    plan: Plan
    zone_model: EllipsoidTableModel
    time_limited: bool
    chances: tuple[Likelihood, ...] = ()
    carried: CarriedOut = field(default_factory=CarriedOut)
    complaint: str = ""


def work_cell(
    patient: StudyPatient,
    cell: Cell,
    effort: Effort,
    seed: int,
    stages: Stages,
    devices: DeviceCatalogue | None = None,
) -> CellResult:
    """Everything that a cell asks for.

    Args:
        patient: of the case.
        cell: the combination of factors.
        effort: how hard the plan is sought.
        seed: of every random draw of the case.
        stages: what earlier cells of the case left, and what this one leaves.
        devices: the user's own applicators beside the built-in ones.

    Raises:
        NeedleplanError: there is no plan because of an error.
    """
    key = tuple(getattr(cell, name) for name in PLAN_FIELDS if name != "error_budget")
    made = stages.get("plan", key, lambda: _plan(patient, cell, effort, seed, stages, devices))
    result = CellResult(made.plan, made.zone_model, made.time_limited)
    if not made.plan.insertions:
        return result
    complaints = []
    if cell.error_budget is not None:
        errors = ErrorOptions(cell.error_budget, effort.scenarios)
        try:
            with room_told():
                chances = stages.get(
                    "chances",
                    (*key, cell.error_budget),
                    lambda: likelihoods(
                        patient.queries, made.plan.insertions, made.zone_model, errors, cell.margin_mm, seed
                    ),
                )
            result = dataclasses.replace(result, plan=_with_chances(made.plan, errors, chances), chances=chances)
        except WorkerFileError:
            raise
        except Exception as error:
            complaints.append(f"{NO_CHANCES}: {sentence(error)}")
    if cell.robot is not None or cell.strategy is not None:
        try:
            with room_told():
                robot_plan = stages.get(
                    "robot", (*key, cell.robot), lambda: carry_out(made.plan, patient.queries.anatomy, cell)
                )
                rehearsed = (*key, cell.robot, cell.strategy, cell.breathing)
                carried = stages.get(
                    "rehearse",
                    rehearsed,
                    lambda: rehearse_cell(
                        robot_plan, made.plan, made.zone_model, patient.queries, cell, effort, seed, stages
                    ),
                )
            result = dataclasses.replace(result, carried=carried)
        except WorkerFileError:
            raise
        except Exception as error:
            complaints.append(f"{NOT_CARRIED_OUT}: {sentence(error)}")
    return dataclasses.replace(result, complaint="; ".join(complaints))


def _plan(
    patient: StudyPatient,
    cell: Cell,
    effort: Effort,
    seed: int,
    stages: Stages,
    devices: DeviceCatalogue | None,
) -> CellPlan:
    model = zone_model(cell.device, cell.power_w, devices)
    options = planning_options(cell, effort, seed)
    paths: FoundPaths = stages.get(
        "search", cell.device, lambda: find_paths(patient.queries, options, zone_model=model)
    )
    # The search counts as a stage of its own.
    searched_s = stages.times_s.get("search", 0.0)
    with searches_ended_by_time() as ended:
        plan = make_plan(patient.queries, options, zone_model=model, paths=paths).plan
    stages.times_s["plan"] = stages.times_s.get("plan", 0.0) - searched_s
    plan = dataclasses.replace(plan, provenance=dataclasses.replace(plan.provenance, timings_s={}))
    return CellPlan(plan, model, bool(ended))


def _with_chances(plan: Plan, errors: ErrorOptions, chances: tuple[Likelihood, ...]) -> Plan:
    """The plan as ``make_plan`` gives it where the errors are among its options."""
    named = {f"errors.{item.name}": getattr(errors, item.name) for item in dataclasses.fields(errors)}
    options = {name: value for name, value in plan.provenance.options.items() if name != "errors"} | named
    provenance = dataclasses.replace(plan.provenance, options=options)
    return dataclasses.replace(plan, likelihoods=chances, provenance=provenance)


def sentence(error: BaseException) -> str:
    """What an error says, in one line, with its kind where it is not one of this library's."""
    text = " ".join(str(error).split())
    if isinstance(error, NeedleplanError):
        return text
    if isinstance(error, MemoryError):
        return f"not enough memory for it{f' ({text})' if text else ''}"
    return f"{type(error).__name__}{f': {text}' if text else ''}"[:1000]
