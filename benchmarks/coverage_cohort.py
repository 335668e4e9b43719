"""Seven tumours of one real liver, each planned for microwaves, radiofrequency, cold and electric pulses.

    python benchmarks/coverage_cohort.py --json cohort.json [--data DIR] [--page docs/coverage.md]
        [--only NAME ...] [--tumours RANK ...]

The tumours are the components of the label of 3D-IRCADb-01, case 1, by size; the manifest is that of
examples/cases/ircadb01-case01.toml with every component as a structure of its own. Surfaces are built once, search
trees once a tumour. Each cell of the table is one plan with all defaults but the applicator, a margin of 5 mm and
the time limit of the exact searches; a tumour that is not the target may be passed and is not treated. Rows that
``--only`` and ``--tumours`` do not name are kept as the file has them. ``--page`` writes the table between the two
marks of a page.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from coverage_cases import LIVER
from coverage_pulses import PulseGroups

from needleplan.ablation.computed_tables import computed_table
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy, build_surface
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import assess
from needleplan.case.load import load_case
from needleplan.case.model import Role
from needleplan.coverage.certificate import certify
from needleplan.coverage.cover_by_arrays import cover_by_arrays
from needleplan.coverage.options import CoverageOptions, ThermalMargins
from needleplan.coverage.protection import protect
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import NeedleplanError
from needleplan.plan import Insertion, Likelihood, Metrics
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.ranking import default_objectives
from needleplan.trajectory.screening import default_constraints
from needleplan.trajectory.search import search_trajectories
from needleplan.uncertainty.likelihoods import ErrorOptions, likelihoods

TUMOURS = 7
#: Applicator of each modality.
APPLICATORS = {
    "MWA": "generic-mwa-2450",
    "RFA": "generic-rfa-cooled-30",
    "cryo": "generic-cryo-2.4-30",
    "IRE": "generic-ire-19g-15",
}
MARGIN_MM, TIME_LIMIT_S = 5.0, 10.0
#: Scenarios of a plan whose zone is a union of spheroids, and of one whose field is computed anew in each.
SCENARIOS, FIELD_SCENARIOS = 500, 40
#: Options of coverage that are a modality's own. A computed table knows no neighbouring probe, so cryoprobes freeze
#: one after the other; every array of electrodes laid out is asked for all balls, so there are fewer of them.
OWN: dict[str, dict[str, int]] = {"cryo": {"needles_at_once": 1}, "IRE": {"point_count": 3000}}
BEGIN, END = "<!-- cohort begins -->", "<!-- cohort ends -->"


@dataclass(frozen=True, slots=True)
class CohortRow:
    """One tumour and modality.

    Attributes:
        tumour: rank of the tumour by size, from 1.
        tumour_ml: its volume.
        modality: name of the modality.
        status: how the plan ended, or why there is none.
        probes: insertions.
        ablations: deliveries of energy.
        bound: proven least number of insertions; None where nothing is proven.
        target: covered share of the target.
        region: covered share of target and margin.
        least_margin_mm: over the target's surface.
        covered: probability that the target is covered, with its bounds.
        reaches: probability that the margin is reached, with its bounds.
        over_ablation_ml: zone outside target and margin.
        seconds: wall time of the plan, with its errors.
    """

    tumour: int
    tumour_ml: float
    modality: str
    status: str
    probes: int = 0
    ablations: int = 0
    bound: float | None = None
    target: float = 0.0
    region: float = 0.0
    least_margin_mm: float | None = None
    covered: tuple[float, float, float] | None = None
    reaches: tuple[float, float, float] | None = None
    over_ablation_ml: float = 0.0
    seconds: float = 0.0


def cohort_anatomies(data: Path) -> list[AnatomyQueries]:
    """The liver with each of its tumours as the target in turn, the largest first."""
    manifest = LIVER.read_text(encoding="utf-8")
    start = manifest.index("[[structures]]")
    target = manifest[start : manifest.index("[[structures]]", start + 1)]
    parts = [target.replace("rank = 2", "rank = 1")]
    for rank in range(2, TUMOURS + 1):
        other = target.replace('"tumour"', f'"tumour {rank}"').replace('"target"', '"allowed"')
        parts.append(other.replace("rank = 2", f"rank = {rank}"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cohort.toml"
        path.write_text(manifest[:start] + "".join(parts) + manifest[start + len(target) :], encoding="utf-8")
        case = load_case(path, data)
    whole = build_anatomy(case)
    names = ["tumour", *(f"tumour {rank}" for rank in range(2, TUMOURS + 1))]
    anatomies = []
    for rank, name in enumerate(names, start=1):
        chosen = next(structure for structure in case.structures if structure.name == name)
        chosen = dataclasses.replace(chosen, name="tumour", role=Role.TARGET)
        others = tuple(structure for structure in case.structures if structure.name not in names)
        alone = dataclasses.replace(case, name=f"tumour {rank}", structures=(chosen, *others))
        surfaces = tuple(surface for surface in whole.surfaces if surface.name not in names)
        built = build_surface(chosen, case.cranial)
        anatomies.append(AnatomyQueries(Anatomy(alone, (built, *surfaces), whole.entry, whole.entry_faces)))
    return anatomies


def tumour_ml(queries: AnatomyQueries) -> float:
    """Volume of the target."""
    return queries.anatomy.target.mesh.volume_mm3 / 1000.0


def planned_row(
    rank: int, modality: str, queries: AnatomyQueries, model: EllipsoidTableModel, options: PlanningOptions
) -> CohortRow:
    """One plan by a table of zones."""
    start = time.perf_counter()
    plan = make_plan(queries, options, zone_model=model).plan
    seconds = time.perf_counter() - start
    row = CohortRow(rank, tumour_ml(queries), modality, str(plan.status), seconds=seconds)
    if plan.metrics is None or plan.proof is None:
        return dataclasses.replace(row, status=f"{plan.status}: {plan.evidence[0].finding}")
    return _filled(row, plan.insertions, plan.metrics, plan.proof.lower_bound, plan.likelihoods)


def pulsed_row(rank: int, queries: AnatomyQueries, options: PlanningOptions) -> CohortRow:
    """One plan by arrays of electrodes."""
    start = time.perf_counter()
    applicator = builtin_catalogue().applicator(options.applicator)
    constraints = default_constraints(queries, options.limits)
    objectives = default_objectives(queries, options.weights)
    found = search_trajectories(queries, applicator, constraints, objectives, options.sampling, options.search)
    row = CohortRow(rank, tumour_ml(queries), "IRE", "infeasible: no path is feasible")
    if not found.table.feasible.any():
        return dataclasses.replace(row, seconds=time.perf_counter() - start)
    # Pulses do not heat, but what they must not touch is protected all the same.
    protection = protect(queries, options.thermal)
    covering = cover_by_arrays(
        found.table, queries, constraints, applicator, None, options.coverage, protection, tissue="liver"
    )
    insertions = covering.insertions
    if not insertions:
        seconds = time.perf_counter() - start
        return dataclasses.replace(row, status="infeasible: no array destroys a part", seconds=seconds)
    sizes = [len(group) for group in covering.groups]
    model = PulseGroups(sizes)
    metrics = assess(queries, insertions, model, options.coverage.margin_mm).metrics
    whole = certify(queries, model.zone(insertions), options.coverage.margin_mm).covered
    chances = likelihoods(
        queries,
        insertions,
        PulseGroups(sizes, refused_is_nothing=True),
        ErrorOptions(scenarios=FIELD_SCENARIOS),
        options.coverage.margin_mm,
        options.seed,
    )
    row = dataclasses.replace(row, status="complete" if whole else "partial", seconds=time.perf_counter() - start)
    return _filled(row, insertions, metrics, covering.bound, chances)


def _filled(
    row: CohortRow,
    insertions: Sequence[Insertion],
    metrics: Metrics,
    bound: float,
    chances: Sequence[Likelihood],
) -> CohortRow:
    told = {one.event: (one.probability, one.low, one.high) for one in chances}
    return dataclasses.replace(
        row,
        probes=len(insertions),
        ablations=sum(len(one.ablations) for one in insertions),
        bound=bound if np.isfinite(bound) else None,
        target=metrics.target_coverage_fraction,
        region=metrics.margin_coverage_fraction,
        least_margin_mm=metrics.minimal_margin_mm,
        covered=told.get("the target is covered"),
        reaches=told.get(f"the margin reaches {metrics.margin_mm:g} mm"),
        over_ablation_ml=metrics.over_ablation_ml,
    )


def table_of(rows: Sequence[CohortRow]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| tumour | modality | probes (bound) | ablations | covered, with margin | least margin | covered in | "
        "5 mm in | outside | time | status |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = list(APPLICATORS)
    for row in sorted(rows, key=lambda one: (one.tumour, order.index(one.modality))):
        name = f"{row.tumour}, {row.tumour_ml:.1f} ml"
        if row.least_margin_mm is None:
            lines.append(f"| {name} | {row.modality} | | | | | | | | {row.seconds:.0f} s | {row.status} |")
            continue
        bound = "unknown" if row.bound is None else f"{row.bound:.0f}"
        lines.append(
            f"| {name} | {row.modality} | {row.probes} ({bound}) | {row.ablations} | {100 * row.target:.1f} %, "
            f"{100 * row.region:.1f} % | {row.least_margin_mm:.1f} mm | {_chance(row.covered)} | "
            f"{_chance(row.reaches)} | {row.over_ablation_ml:.0f} ml | {row.seconds:.0f} s | {row.status} |"
        )
    return "\n".join(lines)


def _chance(told: tuple[float, float, float] | None) -> str:
    if told is None:
        return ""
    probability, low, high = told
    return f"{100 * probability:.0f} % ({100 * low:.0f}-{100 * high:.0f})"


def with_table(page: str, table: str) -> str:
    """A page with the table between its marks; raises ValueError where it has none."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page must have {BEGIN} and, after it, {END}, once each")
    return f"{page[: page.index(BEGIN)]}{BEGIN}\n{table}\n{page[page.index(END) :]}"


def kept_rows(path: Path, modalities: Sequence[str], tumours: Sequence[int]) -> list[CohortRow]:
    """Rows of a file that is there already, but those of some modalities of some tumours."""
    if not path.exists():
        return []
    rows = []
    for item in json.loads(path.read_text(encoding="utf-8")):
        pairs = {key: tuple(item[key]) if item[key] else None for key in ("covered", "reaches")}
        rows.append(CohortRow(**{**item, **pairs}))
    return [row for row in rows if row.modality not in modalities or row.tumour not in tumours]


def write_cohort(path: Path, rows: Sequence[CohortRow]) -> None:
    """The rows as JSON."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def main(
    json_path: Path, data: Path, page: Path | None, only: Sequence[str], tumours: Sequence[int]
) -> list[CohortRow]:
    """Plan the cohort, write rows and table."""
    rows = kept_rows(json_path, only, tumours)
    models = {name: EllipsoidTableModel() for name in ("MWA", "RFA")}
    if "cryo" in only:
        models["cryo"] = EllipsoidTableModel(computed_table(APPLICATORS["cryo"]).catalogue)
    # The smallest first: a run that is stopped leaves the most rows.
    for rank, queries in reversed(list(enumerate(cohort_anatomies(data), start=1))):
        if rank not in tumours:
            continue
        for modality in only:
            options = PlanningOptions(
                applicator=APPLICATORS[modality],
                coverage=CoverageOptions(margin_mm=MARGIN_MM, time_limit_s=TIME_LIMIT_S, **OWN.get(modality, {})),
                thermal=ThermalMargins(),
                errors=ErrorOptions(scenarios=SCENARIOS),
            )
            try:
                if modality == "IRE":
                    row = pulsed_row(rank, queries, options)
                else:
                    row = planned_row(rank, modality, queries, models[modality], options)
            except NeedleplanError as error:
                row = CohortRow(rank, tumour_ml(queries), modality, f"refused: {error}")
            rows.append(row)
            write_cohort(json_path, rows)
            print(table_of([row]).splitlines()[-1], file=sys.stderr, flush=True)
    table = table_of(rows)
    print(table)
    if page is not None:
        page.write_text(with_table(page.read_text(encoding="utf-8"), table), encoding="utf-8")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
    parser.add_argument("--data", type=Path, default=os.environ.get("NEEDLEPLAN_DATA") or None, help="real data")
    parser.add_argument("--page", type=Path, metavar="FILE", help="page with the two marks of the table")
    parser.add_argument("--only", nargs="+", choices=list(APPLICATORS), default=list(APPLICATORS), metavar="NAME")
    ranks = range(1, TUMOURS + 1)
    parser.add_argument("--tumours", nargs="+", type=int, choices=ranks, default=list(ranks), metavar="RANK")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("the cohort is real: name its data by --data or NEEDLEPLAN_DATA")
    main(arguments.json, arguments.data, arguments.page, arguments.only, arguments.tumours)
