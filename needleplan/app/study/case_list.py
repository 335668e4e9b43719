"""The cases of a study: patients in files with names good for folders, and phantoms drawn by their seeds."""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.anatomy.phantom_parameters import PhantomParameters
from needleplan.anatomy.phantom_population import PhantomPopulation, ShapeWeights
from needleplan.app.study.manifest_paths import MANIFEST_NAME, find_manifests
from needleplan.app.study.study import StudyCase
from needleplan.app.study.study_tables import LARGEST_SEED, MAXIMUM_CASES, CasesTable
from needleplan.case.manifest import MAXIMUM_MANIFEST_BYTES
from needleplan.case.sources import DATA_VARIABLE
from needleplan.case.strict_tables import read_tables
from needleplan.errors import CaseError, OptionError

#: Longest name of a case in bytes of UTF-8: it is that of a folder, and some encrypted file systems take no more.
_LONGEST_NAME = 143


def list_cases(
    tables: Sequence[CasesTable], study: Path, data: Path | None, *, draw: bool = True
) -> tuple[StudyCase, ...]:
    """The cases of all [[cases]] tables, in their order.

    Args:
        tables: of the study file.
        study: the study file; relative paths count from its folder.
        data: data folder of manifests that want one where their table names none.
        draw: False leaves every phantom the average one, which is enough to count them and much quicker.

    Raises:
        OptionError: a case is missing, or named twice, or there are too many; with the table's number.
    """
    cases: list[StudyCase] = []
    for number, table in enumerate(tables, 1):
        try:
            cases += _phantoms(table, draw) if table.phantoms is not None else _patients(table, study, data)
        except OptionError as error:
            raise OptionError(f"[[cases]] number {number}: {error}") from None
        if len(cases) > MAXIMUM_CASES:
            raise OptionError(
                f"[[cases]]: these are more than {MAXIMUM_CASES} cases: make more than one study of them"
            )
    _require_different(cases)
    return tuple(cases)


def draw_phantom(population: PhantomPopulation, seed: int) -> PhantomParameters:
    """The parameters of the phantom of a seed, the same whatever other phantoms there are.

    They are drawn from a child of the seed, so that the seed itself is left for the phantom's vessels and shapes.
    """
    child = np.random.SeedSequence(seed).spawn(1)[0]
    return population.draw(np.random.default_rng(child))


def population_from(values: dict[str, Any]) -> PhantomPopulation:
    """The population of the values of a [cases.population] table; raises OptionError where one is impossible."""
    try:
        shapes = ShapeWeights(**values["shapes"]) if "shapes" in values else ShapeWeights()
        return PhantomPopulation(**(values | {"shapes": shapes}))
    except OptionError as error:
        raise OptionError(f"population: {error}") from None


def _phantoms(table: CasesTable, draw: bool) -> list[StudyCase]:
    first, count = table.first_seed or 0, table.phantoms or 0
    if first + count - 1 > LARGEST_SEED:
        raise OptionError(
            f"first_seed is {first}; with {count} phantoms it must leave no seed above {LARGEST_SEED}"
        )
    values: dict[str, Any] = {} if table.population is None else table.population.model_dump(exclude_unset=True)
    voxel_mm = float(values.pop("voxel_mm", 2.0))
    population = population_from(values)
    average = PhantomParameters()
    return [
        StudyCase(
            f"{table.name or 'phantom'}-{seed}",
            phantom=draw_phantom(population, seed) if draw else average,
            seed=seed,
            voxel_mm=voxel_mm,
        )
        for seed in range(first, first + count)
    ]


def _patients(table: CasesTable, study: Path, data: Path | None) -> list[StudyCase]:
    base = study.parent
    stated = None if table.data is None else _folder(base / table.data, "data")
    manifests = find_manifests(table.manifests, base, study)
    cases = []
    for manifest in manifests:
        root = stated if stated is not None or not _wants_data(manifest) else _data_folder(manifest, data)
        name = _safe_name(manifest.parent.name if manifest.name == MANIFEST_NAME else manifest.stem)
        whole = f"{table.name}-{name}" if table.name else name
        cases.append(StudyCase(_fitting(whole), manifest=manifest, data=root))
    return cases


def _wants_data(manifest: Path) -> bool:
    """True where the sources of a manifest count from a data folder; a broken manifest is its own row's trouble."""
    try:
        tables, _ = read_tables(manifest, MAXIMUM_MANIFEST_BYTES, "a manifest")
    except CaseError:
        return False
    return tables.get("sources_from") == "data"


def _data_folder(manifest: Path, data: Path | None) -> Path:
    named = os.environ.get(DATA_VARIABLE, "")
    if data is None and not named:
        raise OptionError(
            f"the sources of {manifest} lie in a data folder: name it by data in the table, by --data DIR or by "
            f"the environment variable {DATA_VARIABLE}"
        )
    return _folder(Path(named) if data is None else data, "the data folder")


def _folder(path: Path, what: str) -> Path:
    try:
        found = path.is_dir()
    except OSError:
        found = False
    if not found:
        raise OptionError(f"{what} names {path}, which is no folder")
    return path.resolve()


def _safe_name(text: str) -> str:
    """A name of a file with letters, digits, dots, hyphens and underscores only, and no dot at its beginning."""
    letters = (
        character if character.isalnum() or character in "._-" else "-"
        for character in unicodedata.normalize("NFC", text)
    )  # fmt: skip
    return "".join(letters).lstrip(".-") or "case"


def _fitting(name: str) -> str:
    """A name that fits; one that is cut ends in the beginning of its hash, so that names stay different."""
    whole = name.encode()
    if len(whole) <= _LONGEST_NAME:
        return name
    end = f"-{hashlib.sha256(whole).hexdigest()[:8]}"
    return whole[: _LONGEST_NAME - len(end)].decode(errors="ignore") + end


def _capitals(first: str, second: str) -> str:
    """What is to be said of two names that differ by capitals alone."""
    return "" if first == second else f"; capitals do not count, so {first!r} is the same name"


def _require_different(cases: Sequence[StudyCase]) -> None:
    """Raise OptionError where two cases have one name or one manifest; some file systems know no capitals."""
    names: dict[str, StudyCase] = {}
    manifests: dict[Path, StudyCase] = {}
    for case in cases:
        first = names.setdefault(case.name.casefold(), case)
        if case.manifest is not None:
            other = manifests.setdefault(case.manifest, case)
            if other is not case:
                raise OptionError(f"[[cases]]: the case {case.manifest} stands in two tables: name it once")
        if first is not case:
            both = " and ".join(str(each.manifest or f"the phantom of seed {each.seed}") for each in (first, case))
            capitals = _capitals(first.name, case.name)
            raise OptionError(
                f"[[cases]]: two cases would be called {case.name!r}, {both}{capitals}: put them into two "
                "[[cases]] tables and give each a name of its own, which then begins the names of its cases"
            )
