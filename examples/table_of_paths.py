"""How many needle paths does each case have? One row of a Markdown table a case, and its skin map.

    python examples/table_of_paths.py examples/cases/*.toml --data DIR --out out/paths

A case that cannot be read is a row that says why, never the end.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.path_files import write_paths
from needleplan.app.paths import PathStudy, study_paths
from needleplan.case.load import load_case
from needleplan.errors import NeedleplanError
from needleplan.planning import PlanningOptions

HEADER = (
    "| case | candidates | feasible | front | entries open | not missed if wider than | rejects most paths | "
    "blocks most entries | search s | explain s |"
)


def main(
    cases: Sequence[Path], data: Path | None = None, out: Path | None = None, options: PlanningOptions | None = None
) -> list[PathStudy]:
    """Study every case and print the table.

    Args:
        cases: manifests.
        data: folder that their sources count from, where they name it.
        out: folder for paths.json and skin-map.png of each; None writes nothing.
        options: sampling, search, limits and weights; the defaults where None.

    Returns:
        The studies of the cases that could be read.
    """
    options = options or PlanningOptions()
    applicator = EllipsoidTableModel().catalogue.applicator(options.applicator)
    studies = []
    print(HEADER)
    print("|---" * HEADER.count(" | ") + "|---|")
    for path in cases:
        try:
            anatomy = build_anatomy(load_case(path, data))
            study = study_paths(AnatomyQueries(anatomy), applicator, options)
        except NeedleplanError as error:
            print(f"| {path.stem} | {error} |" + " |" * (HEADER.count(" | ") - 1), flush=True)
            continue
        studies.append(study)
        print(row(study), flush=True)
        if out is not None:
            folder = out / study.case_name
            folder.mkdir(parents=True, exist_ok=True)
            write_paths(folder, study, anatomy)
    return studies


def row(study: PathStudy) -> str:
    """One case as a row of the table."""
    times = [f"{study.timings_s[name]:.2f}" for name in ("search", "explain")]
    cells = [
        study.case_name,
        f"{study.candidates:,}",
        f"{study.feasible_count:,}",
        f"{study.front_count:,}",
        f"{study.open_entries:,} of {study.entries:,}",
        f"{study.resolution.entry_mm:.1f} mm, {study.resolution.angle_deg:.1f}°",
        _most(study.rejected_by),
        _most(study.blocked_entries),
        *times,
    ]
    return f"| {' | '.join(cells)} |"


def _most(counts: dict[str, int], shown: int = 3) -> str:
    """The largest counts with their names."""
    ordered = sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1])
    return ", ".join(f"{name.removeprefix('clearance to ')} {count:,}" for name, count in ordered[:shown]) or "–"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="+", help="manifests")
    parser.add_argument("--data", type=Path, help="folder that their sources count from")
    parser.add_argument("--out", type=Path, help="folder for paths.json and skin maps")
    arguments = parser.parse_args()
    main(arguments.cases, arguments.data, arguments.out)
