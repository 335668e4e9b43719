"""The folder of a study: its record, a file for each finished cell, plans, and the tables made of them.

    study.json                       what was asked, of which inputs, by which software
    rows/CASE/CELL.json              row and times of a finished cell; it is there whole or not at all
    plans/CASE/PLAN/                 a plan folder as the other commands read it
    cases/CASE/                      the files of a phantom whose plans are kept, and the list of their hashes
    results.parquet, times.parquet   all rows, once all are there

A cell is finished once its file is there, which is written after its plan and tells the hash of it.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from needleplan.app.folder import PlanFolder
from needleplan.app.phantom_files import MANIFEST_NAME
from needleplan.app.study.case_files import has_case_files, write_case_files
from needleplan.app.study.cell_work import plan_name
from needleplan.app.study.finished_cell import ROW_REMEDY, FinishedCell, read_finished, unpacked, write_finished
from needleplan.app.study.seeds import case_seed
from needleplan.app.study.software import version_difference
from needleplan.app.study.study import Cell, Row, Study, StudyCase, Times
from needleplan.app.study.study_record import RECORD_NAME, input_hashes, read_record, record_of
from needleplan.errors import CaseError, OptionError, PlanFileError
from needleplan.io.bounded import read_whole
from needleplan.io.plan_file import MAXIMUM_BYTES, write_bytes, write_json
from needleplan.io.study_table import write_results, write_times


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """The file of a plan as it is found.

    Attributes:
        digest: its SHA-256 (hex); empty where what stands there is no file of a plan.
        tells_case: True where it tells the content hash of the case that its row tells.
    """

    digest: str
    tells_case: bool


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Paths in the folder of a study, and what is read and written there."""

    root: Path

    @property
    def record(self) -> Path:
        """What was asked, of which inputs, by which software."""
        return self.root / RECORD_NAME

    @property
    def results(self) -> Path:
        """Table of results."""
        return self.root / "results.parquet"

    @property
    def times(self) -> Path:
        """Table of times."""
        return self.root / "times.parquet"

    def row_file(self, case: str, cell: str) -> Path:
        """File of a finished cell; errors as of ``_folder``, as those of the next two."""
        return self._folder("rows", case) / f"{cell}.json"

    def plan_folder(self, case: str, plan: str) -> PlanFolder:
        """Folder of a plan."""
        return PlanFolder(self._folder("plans", case, plan))

    def case_folder(self, case: str) -> Path:
        """Folder of a phantom's files."""
        return self._folder("cases", case)

    def _folder(self, *names: str) -> Path:
        """A folder below this one, which need not be there yet.

        Raises:
            PlanFileError: a file stands in its place, or a link, through which files elsewhere would be
                written over.
        """
        place = self.root
        for name in names:
            place = place / name
            try:
                mode = place.lstat().st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(mode):
                what = "is a symbolic link" if stat.S_ISLNK(mode) else "is a file"
                raise PlanFileError(f"{place}: this {what}, where a folder of the study must be: {ROW_REMEDY}")
        return place

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
        """Names of the finished cells of a case; errors as of ``_folder``, also for its plans and files."""
        rows, *_ = (self._folder(name, case.name) for name in ("rows", "plans", "cases"))
        try:
            return {entry.name[:-5] for entry in os.scandir(rows) if _is_row(entry.name)}
        except FileNotFoundError:
            return set()

    def case_hash(self, case: StudyCase) -> str:
        """Content hash that the case had when its finished cells were computed; empty where none tells one."""
        rows = (self.read_row(case.name, name) for name in sorted(self.finished(case)))
        return next((row.case_hash for row in rows if row.case_hash), "")

    def read_row(self, case: str, cell: str) -> Row:
        """Row of a finished cell; errors as of ``read_finished``."""
        return self._read(case, cell).row

    def cell_of(self, study: Study, case: StudyCase, cell: Cell) -> FinishedCell:
        """A finished cell of a study; errors as of ``read_finished``, also where factors, seed or plan differ."""
        found = self._read(case.name, cell.name)
        row, path = found.row, self.row_file(case.name, cell.name)
        factors = Row.factors_of(case, cell, case_seed(study.seed, case), row.case_hash)
        for name, value in factors.items():
            if getattr(row, name) != value and not (name == "robot" and _same_robot(row, cell)):
                raise PlanFileError(
                    f"{path}: {name} is {getattr(row, name)!r}, where the study has {value!r}: {ROW_REMEDY}"
                )
        place = f"plans/{case.name}/{plan_name(cell)}/plan.json"
        must = (place,) if study.outputs.plans and row.status != "failed" else ("", place)
        if row.plan_file not in must:
            told = " or ".join(each or "empty" for each in must)
            raise PlanFileError(f"{path}: plan_file is {row.plan_file!r:.100}, and must be {told}: {ROW_REMEDY}")
        return found

    def cells_of(self, study: Study, case: StudyCase, cells: Iterable[Cell]) -> list[FinishedCell]:
        """Finished cells of a case; errors as of ``cell_of``, also where they tell different content of it."""
        found = [self.cell_of(study, case, cell) for cell in cells]
        told = {each.row.case_hash: each.row.cell for each in found if each.row.case_hash}
        if len(told) > 1:
            one, other = sorted(told.values())[:2]
            rows = self._folder("rows", case.name)
            raise PlanFileError(
                f"{rows}: {one}.json and {other}.json tell different case_hash of one case: remove {rows} and "
                "resume the study"
            )
        return found

    def read_times(self, case: str, cell: str) -> Times:
        """Times of a finished cell; errors as of ``read_finished``."""
        return self._read(case, cell).times

    def plan_of(self, row: Row) -> WrittenPlan | None:
        """What the file of a row's plan holds; None where it is gone."""
        _, case, plan, _ = row.plan_file.split("/")
        path = self.plan_folder(case, plan).plan
        if not path.exists():
            return None
        try:
            content = read_whole(path, MAXIMUM_BYTES)
        except CaseError:
            return WrittenPlan("", False)
        return WrittenPlan(hashlib.sha256(content).hexdigest(), row.case_hash.encode() in content)

    def _read(self, case: str, cell: str) -> FinishedCell:
        return read_finished(self.row_file(case, cell), case, cell)

    def write_cell(self, row: Row, times: Times, plan: bytes = b"", tables: tuple[bytes, ...] = ()) -> None:
        """A finished cell: its plan first where there is one, packed, then its file.

        Whatever lies in the plan's folder, the plan stands there afterwards as it was computed.
        """
        digest = ""
        if plan and row.plan_file:
            content = unpacked(plan)
            _, case, name, _ = row.plan_file.split("/")
            folder = self.plan_folder(case, name)
            # It tells the hash of the plan that it was written for, so it is written anew when the case is closed.
            folder.source.unlink(missing_ok=True)
            for path, table in zip((folder.applicators, folder.zones), tables, strict=False):
                _write_where_other(path, unpacked(table))
            _write_where_other(folder.plan, content)
            digest = hashlib.sha256(content).hexdigest()
        write_finished(self.row_file(row.case, row.cell), FinishedCell(row, times, digest))

    def is_closed(self, study: Study, case: StudyCase) -> bool:
        """True where the plans of a case can be read with the case.

        They say which case they are for, and the files of a phantom are there as they were written.
        """
        plans = self._plans(case, study.cells)
        kept = study.outputs.plans and case.phantom is not None and bool(plans)
        return all(map(_tells_case, plans)) and (not kept or has_case_files(self.case_folder(case.name)))

    def lacks_source(self, case: StudyCase, cells: tuple[Cell, ...]) -> list[PlanFolder]:
        """Plan folders of a case that do not say yet, or in a damaged file, which case they are for."""
        return [each for each in self._plans(case, cells) if not _tells_case(each)]

    def _plans(self, case: StudyCase, cells: tuple[Cell, ...]) -> list[PlanFolder]:
        """Plan folders of a case that hold a plan."""
        folders = [self.plan_folder(case.name, name) for name in sorted({plan_name(cell) for cell in cells})]
        return [each for each in folders if each.plan.is_file()]

    def close_case(self, case: StudyCase, cells: tuple[Cell, ...], files: Mapping[str, bytes]) -> None:
        """Write a phantom's files, and into the case's plan folders which case they are for.

        Raises:
            PlanFileError: one of the plans was damaged since it was written.
        """
        manifest, folder = case.manifest, self.case_folder(case.name)
        if files:
            write_case_files(folder, files)
        if manifest is None:
            manifest = folder / MANIFEST_NAME
        for lacking in self.lacks_source(case, cells):
            try:
                lacking.write_source(manifest, case.data)
            except PlanFileError as error:
                rows = self._folder("rows", case.name)
                raise PlanFileError(f"{error}: remove {rows} and resume the study") from error

    def write_tables(self, study: Study) -> None:
        """results.parquet and times.parquet of all cells, in the study's order; all must be finished."""
        digest = study.digest()
        rows = (each.row for case in study.cases for each in self.cells_of(study, case, study.cells))
        write_results(self.results, rows, study.name, digest)
        names = [cell.name for cell in study.cells]
        times = (self.read_times(case.name, name) for case in study.cases for name in names)
        write_times(self.times, times, study.name, digest)


def _tells_case(folder: PlanFolder) -> bool:
    """True where a plan's folder says which case it is for, in a file that can be read."""
    try:
        folder.read_source()
    except (CaseError, PlanFileError):
        return False
    return True


def _write_where_other(path: Path, content: bytes) -> None:
    """Write a file unless it holds that already, as where cells share a plan."""
    if not (path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content):
        write_bytes(path, content)


def _same_robot(row: Row, cell: Cell) -> bool:
    """True where the robot of a TOML has the content that the row tells, whatever the file is called."""
    return bool(cell.robot_hash) and str(row.robot).endswith(f" {cell.robot_hash[:8]}")


def _is_row(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
