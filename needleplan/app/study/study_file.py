"""The study file study.toml: read, checked to the last value, and told in sentences."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from needleplan.app.study.case_list import list_cases
from needleplan.app.study.factor_values import QUIET, FactorReader
from needleplan.app.study.factors import FACTORS, cross, varied
from needleplan.app.study.study import Breathing, Effort, Outputs, Study
from needleplan.app.study.study_tables import INNER_TABLES, DevicesTable, StudyTables
from needleplan.case.strict_tables import checked_table, read_tables, shown
from needleplan.devices.catalogue import DeviceCatalogue, builtin_catalogue_with, load_catalogue
from needleplan.errors import DeviceError, OptionError

#: A study file is some pages of text; a larger one is refused unread.
MAXIMUM_STUDY_BYTES = 1_048_576

#: Most cases times combinations of one study.
MAXIMUM_PLANS = 10_000_000

#: What the entries of lists of tables are called in messages.
_ENTRIES = {"cases": "[[cases]]", "leave_out": "[[leave_out]]"}


def read_study(path: Path, data: Path | None = None) -> Study:
    """Read a study file and check every value of it.

    A patient whose files are broken is no error here, but later a row that says so; one that is missing is.

    Args:
        path: the file; paths in it count from its folder.
        data: folder that the sources of manifests with ``sources_from = "data"`` count from, where their [[cases]]
            table names none; the environment variable NEEDLEPLAN_DATA where None.

    Raises:
        CaseError: there is no such file, or it is not TOML, with the line.
        OptionError: something in it is missing, unknown, impossible or contradicts itself: one sentence that names
            it and says what would be right.
    """
    return _read(path, data, draw=True)


def outline_study(path: Path, data: Path | None = None) -> Study:
    """The study of a file with the average phantom in the place of each: to be described, not to be run.

    Arguments and errors are those of ``read_study``, which takes half a minute for the most phantoms there may be.
    """
    return _read(path, data, draw=False)


def _read(path: Path, data: Path | None, draw: bool) -> Study:
    tables, text = read_tables(path, MAXIMUM_STUDY_BYTES, "a study file")
    try:
        return _study(tables, text, path.parent.resolve() / path.name, data, draw)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None


def _study(tables: Mapping[str, Any], text: str, path: Path, data: Path | None, draw: bool) -> Study:
    if tables.get("schema") == "needleplan.case":
        raise OptionError('this is the manifest of a case; a study file begins with schema = "needleplan.study"')
    file = checked_table(StudyTables, tables, INNER_TABLES, _ENTRIES, OptionError)
    breathing = _breathing(file)
    given = _in_order(tables.get("factors", {}), file.factors.model_dump(exclude_unset=True))
    left_out = [table.model_dump(exclude_unset=True) for table in file.leave_out]
    devices = _devices(file, path.parent)
    cells = cross(given, left_out, FactorReader(path.parent, breathing, devices))
    used = {cell.breathing.name for cell in cells}
    for name in breathing:
        if name not in used:
            raise OptionError(f"[breathing.{name}]: no combination breathes so: name it in breathing of [factors]")
    # Phantoms are counted before they are drawn, which takes longer.
    _require_few(sum(table.phantoms or 1 for table in file.cases), len(cells))
    cases = list_cases(file.cases, path, data, draw=draw)
    _require_few(len(cases), len(cells))
    return Study(
        name=file.name,
        cases=cases,
        cells=cells,
        factors=varied(cells, [*given, *(factor for factor in FACTORS if factor not in given)]),
        effort=Effort(**file.planning.model_dump(exclude_unset=True)),
        outputs=Outputs(**file.outputs.model_dump(exclude_unset=True)),
        seed=file.seed,
        source=text,
        devices=devices,
    )


def _devices(file: StudyTables, base: Path) -> DeviceCatalogue | None:
    """The user's own applicators, whose names are not those of built-in ones."""
    if file.devices is None:
        return None
    try:
        own = load_catalogue(base / file.devices.applicators_csv, base / file.devices.zones_csv)
        builtin_catalogue_with(own)
    except DeviceError as error:
        raise OptionError(f"[devices]: {_with_paths(str(error), file.devices)}") from None
    return own


def _with_paths(message: str, tables: DevicesTable) -> str:
    """A message that begins with the name of one of the two tables, with the path as it stands in the study."""
    given = [tables.applicators_csv, tables.zones_csv]
    begun = [path for path in given if message.startswith(f"{Path(path).name} ")]
    if len(begun) == 1:
        return begun[0] + message.removeprefix(Path(begun[0]).name)
    return f"{message} ({' or '.join(begun)})" if begun else message


def _in_order(written: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The values of factors in the order in which they were written."""
    return {factor: values[factor] for factor in written}


def _breathing(file: StudyTables) -> dict[str, Breathing]:
    """The ways to breathe by name; two that are alike would be crossed for nothing."""
    found: dict[str, Breathing] = {}
    for name, table in file.breathing.items():
        breathing = Breathing(name, **table.model_dump(exclude_unset=True))
        known = found if name == QUIET.name else {QUIET.name: QUIET, **found}
        for other in known.values():
            if (other.peak_mm, other.period_s, other.irregular) == _figures(breathing):
                raise OptionError(
                    f"[breathing.{name}]: this is the same as {shown(other.name)}: leave it away, or change its "
                    "peak_mm, period_s or irregular"
                )
        found[name] = breathing
    return found


def _figures(breathing: Breathing) -> tuple[float, float, bool]:
    return breathing.peak_mm, breathing.period_s, breathing.irregular


def _require_few(cases: int, cells: int) -> None:
    if cases * cells > MAXIMUM_PLANS:
        raise OptionError(
            f"{cases} cases in {cells} combinations are {cases * cells} plans, more than the {MAXIMUM_PLANS} of "
            "one study: take fewer cases or values, or make more than one study of them"
        )
