"""The folder of a study: its record, a file for each finished cell, plans, and the tables made of them.

    study.json                       what was asked, of which inputs, by which software
    rows/CASE/CELL.json              row and times of a finished cell; it is there whole or not at all
    plans/CASE/PLAN/                 a plan folder as the other commands read it
    cases/CASE/                      the files of a phantom whose plans are kept
    results.parquet, times.parquet   all rows, once all are there

A cell is finished once its file is there, which is written after its plan.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from needleplan.app.folder import PlanFolder
from needleplan.app.phantom_files import MANIFEST_NAME
from needleplan.app.study.cell_work import plan_name
from needleplan.app.study.seeds import case_seed
from needleplan.app.study.software import version_difference
from needleplan.app.study.study import STUDY_VERSION, Cell, Row, Study, StudyCase, Times
from needleplan.app.study.study_record import input_hashes, read_record, record_of
from needleplan.app.study.study_state import STATUSES
from needleplan.errors import CaseError, OptionError, PlanFileError
from needleplan.io.bounded import read_whole
from needleplan.io.plan_file import write_bytes, write_json, write_text
from needleplan.io.study_table import write_results, write_times
from needleplan.io.value_json import from_json, parse_strict, to_json

ROW_SCHEMA = "needleplan.study_row"
_MAXIMUM_ROW_BYTES = 1_000_000
#: What helps against a damaged row.
_REMEDY = "remove it and resume the study"
Part = TypeVar("Part", Row, Times)

#: A plan of hundreds of needles, unpacked.
_MAXIMUM_UNPACKED_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Paths in the folder of a study, and what is read and written there."""

    root: Path

    @property
    def record(self) -> Path:
        """What was asked, of which inputs, by which software."""
        return self.root / "study.json"

    @property
    def results(self) -> Path:
        """Table of results."""
        return self.root / "results.parquet"

    @property
    def times(self) -> Path:
        """Table of times."""
        return self.root / "times.parquet"

    def row_file(self, case: str, cell: str) -> Path:
        """File of a finished cell."""
        return self.root / "rows" / case / f"{cell}.json"

    def plan_folder(self, case: str, plan: str) -> PlanFolder:
        """Folder of a plan."""
        return PlanFolder(self.root / "plans" / case / plan)

    def case_folder(self, case: str) -> Path:
        """Folder of a phantom's files."""
        return self.root / "cases" / case

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The folder for this process alone, made where it is missing.

        Raises:
            OptionError: another study is running in it, or it cannot be made.
        """
        if self.root.exists() and not self.root.is_dir():
            raise OptionError(f"{self.root} is a file, and results go into a folder: name another place")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise OptionError(f"{self.root}: no folder can be made there ({error.strerror})") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OptionError(
                    f"{self.root}: another study is running in this folder; wait for it, or name another folder"
                ) from None
            except OSError:
                pass  # a file system without locks: nothing tells two runs apart there
            yield
        finally:
            os.close(handle)

    def open(self, study: Study, versions: Mapping[str, str], resume: bool) -> None:
        """Make the folder this study's, or see that it is.

        Args:
            study: the study.
            versions: of the software that shall compute it.
            resume: True to go on with what is there.

        Raises:
            OptionError: the folder holds something else, another study, or this one without ``resume``, or was
                made by other software.
        """
        if not self.record.is_file():
            if any(not path.name.startswith(".") for path in self.root.iterdir()):
                raise OptionError(
                    f"{self.root} holds no study.json, so it was not written by study: name another folder"
                )
            if resume:
                raise OptionError(f"{self.root} holds no study to resume: leave --resume away")
            write_json(self.record, record_of(study, versions))
            return
        record = read_record(self.record)
        if record["digest"] != study.digest():
            raise OptionError(
                f"{self.root} holds the study {record['name']!r} with other cases, factors, effort or seed: name "
                "another folder"
            )
        if record["name"] != study.name:
            raise OptionError(
                f"{self.root} was begun as the study {record['name']!r}, not {study.name!r}: give it that name "
                "again, or name another folder"
            )
        if not resume and (self.root / "rows").is_dir():
            raise OptionError(
                f"{self.root} holds finished cells of this study: add --resume to go on, or name another folder"
            )
        other = version_difference(record["versions"], dict(versions))
        if other:
            raise OptionError(
                f"{self.root} was begun with other software, so the rest would not fit ({other} here): take the "
                "former software, or name another folder"
            )
        if record["outputs"]["plans"] != study.outputs.plans:
            said = "with" if record["outputs"]["plans"] else "without"
            raise OptionError(f"{self.root} was begun {said} plans: ask for the same, or name another folder")
        inputs = input_hashes(study)
        changed = sorted(name for name in inputs if record["inputs"].get(name) != inputs[name])
        if changed:
            raise OptionError(
                f"{self.root}: files of the case {changed[0]} have changed since the study was begun: put them "
                "back as they were, or name another folder"
            )

    def finished(self, case: StudyCase) -> set[str]:
        """Names of the finished cells of a case."""
        try:
            return {entry.name[:-5] for entry in os.scandir(self.root / "rows" / case.name) if _is_row(entry.name)}
        except FileNotFoundError:
            return set()

    def case_hash(self, case: StudyCase) -> str:
        """Content hash that the case had when its finished cells were computed; empty where none tells one."""
        rows = (self.read_row(case.name, name) for name in sorted(self.finished(case)))
        return next((row.case_hash for row in rows if row.case_hash), "")

    def read_row(self, case: str, cell: str) -> Row:
        """Row of a finished cell.

        Raises:
            PlanFileError: the file is damaged or another cell's.
        """
        row = self._read(case, cell, "row", Row)
        if row.status not in STATUSES:
            raise PlanFileError(
                f"{self.row_file(case, cell)}: status is {row.status!r}, and must be one of {', '.join(STATUSES)}: "
                f"{_REMEDY}"
            )
        return row

    def row_of(self, case: StudyCase, cell: Cell, study_seed: int) -> Row:
        """Row of a finished cell of a study; errors as of ``read_row``, also where factors or seed differ."""
        row = self.read_row(case.name, cell.name)
        factors = Row.factors_of(case, cell, case_seed(study_seed, case), row.case_hash)
        for name, value in factors.items():
            if getattr(row, name) != value and not (name == "robot" and _same_robot(row, cell)):
                raise PlanFileError(
                    f"{self.row_file(case.name, cell.name)}: {name} is {getattr(row, name)!r}, where the study has "
                    f"{value!r}: {_REMEDY}"
                )
        return row

    def read_times(self, case: str, cell: str) -> Times:
        """Times of a finished cell; errors as of ``read_row``."""
        return self._read(case, cell, "times", Times)

    def _read(self, case: str, cell: str, part: str, kind: type[Part]) -> Part:
        path = self.row_file(case, cell)
        if not path.is_file():
            raise PlanFileError(f"{path}: what stands there is no file of a finished cell: {_REMEDY}")
        try:
            data = parse_strict(read_whole(path, _MAXIMUM_ROW_BYTES).decode("utf-8", errors="replace"), str(path))
            if not isinstance(data, dict) or (data.get("schema"), data.get("version")) != (
                ROW_SCHEMA,
                STUDY_VERSION,
            ):
                raise PlanFileError(f"{path}: its schema must say {ROW_SCHEMA!r} and its version {STUDY_VERSION}")
            found = from_json(kind, data.get(part), f"{path}: {part}")
        except (CaseError, PlanFileError) as error:
            raise PlanFileError(f"{error}: {_REMEDY}") from error
        if (found.case, found.cell) != (case, cell):
            raise PlanFileError(f"{path}: it is the file of another cell: {_REMEDY}")
        return found

    def write_cell(self, row: Row, times: Times, plan: bytes = b"", tables: tuple[bytes, ...] = ()) -> None:
        """A finished cell: its plan first where there is one, packed, then its file."""
        if plan and row.plan_file:
            folder = PlanFolder((self.root / row.plan_file).parent)
            if not folder.plan.is_file():
                for path, content in zip((folder.applicators, folder.zones), tables, strict=False):
                    write_bytes(path, unpacked(content))
                write_bytes(folder.plan, unpacked(plan))
        whole = {"schema": ROW_SCHEMA, "version": STUDY_VERSION, "row": to_json(row), "times": to_json(times)}
        text = json.dumps(whole, allow_nan=False, ensure_ascii=False)
        write_text(self.row_file(row.case, row.cell), f"{text}\n")

    def lacks_source(self, case: StudyCase, cells: tuple[Cell, ...]) -> list[PlanFolder]:
        """Plan folders of a case that do not say yet which case they are for."""
        folders = [self.plan_folder(case.name, name) for name in sorted({plan_name(cell) for cell in cells})]
        return [each for each in folders if each.plan.is_file() and not (each.root / "source.json").is_file()]

    def close_case(self, case: StudyCase, cells: tuple[Cell, ...], files: Mapping[str, bytes]) -> None:
        """Write a phantom's files, and into the case's plan folders which case they are for."""
        manifest, folder = case.manifest, self.case_folder(case.name)
        for name in sorted(files, key=lambda each: each == MANIFEST_NAME):
            write_bytes(folder / Path(name).name, files[name])
        if manifest is None:
            manifest = folder / MANIFEST_NAME
        for lacking in self.lacks_source(case, cells):
            lacking.write_source(manifest, case.data)

    def write_tables(self, study: Study) -> None:
        """results.parquet and times.parquet of all cells, in the study's order; all must be finished."""
        digest = study.digest()
        rows = (self.row_of(case, cell, study.seed) for case in study.cases for cell in study.cells)
        write_results(self.results, rows, study.name, digest)
        names = [cell.name for cell in study.cells]
        times = (self.read_times(case.name, name) for case in study.cases for name in names)
        write_times(self.times, times, study.name, digest)


def unpacked(content: bytes) -> bytes:
    """What ``zlib.compress`` packed; raises PlanFileError where it is damaged or too large."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(content, _MAXIMUM_UNPACKED_BYTES)
    except zlib.error as error:
        raise PlanFileError(f"what a worker sent is damaged ({error})") from error
    if not inflater.eof:
        raise PlanFileError(f"what a worker sent is cut short, or larger than {_MAXIMUM_UNPACKED_BYTES} bytes")
    return plain


def _same_robot(row: Row, cell: Cell) -> bool:
    """True where the robot of a TOML has the content that the row tells, whatever the file is called."""
    return bool(cell.robot_hash) and str(row.robot).endswith(f" {cell.robot_hash[:8]}")


def _is_row(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
