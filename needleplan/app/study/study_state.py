"""How far a study is."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from needleplan.app.study.study import Row, Study

#: What may come of a cell, in the order of tables.
STATUSES = ("complete", "partial", "infeasible", "failed")


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What a run came to.

    Attributes:
        cases: in the study.
        cells: in the study, over all cases.
        kept: cells that were finished before this run.
        computed: cells that this run computed.
        twice: cells that came although they were finished; they were computed in vain.
        statuses: cells of each status over the whole study.
        limited: cells whose searches were ended by their time.
        wall_s: time that the run took.
        processor_s: processor time of what it computed.
        without_files: see ``StudyState``.
        plans_gone: see ``StudyState``.
        plans_altered: see ``StudyState``.
    """

    cases: int
    cells: int
    kept: int
    computed: int
    twice: int
    statuses: dict[str, int]
    limited: int
    wall_s: float
    processor_s: float
    without_files: dict[str, str]
    plans_gone: dict[str, Path]
    plans_altered: dict[str, Path]


@dataclass(slots=True)
class StudyState:
    """Counts of a study that is under way; changed by the engine, read by the progress.

    Attributes:
        name: of the study.
        cases: in the study.
        cells: in the study, over all cases.
        cells_of: cells of each device over all cases.
        cases_done: cases all of whose cells are finished.
        kept: cells that were finished before this run.
        computed: cells that this run computed.
        twice: cells that came although they were finished.
        limited: cells whose searches were ended by their time.
        statuses: finished cells by device and status.
        workers: threads of workers that are there.
        busy: cases that are with them.
        failure: the last reason of a failed cell, with its case.
        processor_s: processor time of what this run computed.
        since_s: when the run began, by ``time.monotonic``.
        without_files: why the files of a case could not be made, by its name; its plans are there, but nothing that
            reads them with the case.
        plans_gone: files of plans that rows of earlier runs name and that are no longer there, relative to the
            study's folder, and for each the file of a row by whose removal it is made again.
        plans_altered: the same for plans that are there, but not as they were written.
    """

    name: str
    cases: int
    cells: int
    cells_of: dict[str, int]
    cases_done: int = 0
    kept: int = 0
    computed: int = 0
    twice: int = 0
    limited: int = 0
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    workers: int = 0
    busy: int = 0
    failure: str = ""
    processor_s: float = 0.0
    since_s: float = field(default_factory=time.monotonic)
    without_files: dict[str, str] = field(default_factory=dict)
    plans_gone: dict[str, Path] = field(default_factory=dict)
    plans_altered: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study) -> "StudyState":
        """That of a study of which nothing is done."""
        of = Counter(cell.device for cell in study.cells)
        count = len(study.cases)
        return cls(
            study.name,
            count,
            count * len(study.cells),
            {device: number * count for device, number in of.items()},
            statuses={device: Counter() for device in of},
        )

    @property
    def cells_done(self) -> int:
        """Finished cells."""
        return self.kept + self.computed

    @property
    def elapsed_s(self) -> float:
        """Time since the run began."""
        return time.monotonic() - self.since_s

    @property
    def left_s(self) -> float | None:
        """Time that the rest takes at the rate of this run; None where nothing is known yet."""
        if not self.computed:
            return None
        return (self.cells - self.cells_done) * self.elapsed_s / self.computed

    def count(self, row: Row, kept: bool) -> None:
        """A finished cell, of an earlier run where it was kept."""
        self.kept += kept
        self.computed += not kept
        self.limited += row.time_limited
        self.statuses[row.device][row.status] += 1
        if row.status == "failed":
            self.failure = f"{row.case}: {row.reason}"

    def total(self, status: str) -> int:
        """Finished cells of a status."""
        return sum(counts[status] for counts in self.statuses.values())

    def summary(self) -> StudySummary:
        """What the run came to."""
        return StudySummary(
            self.cases, self.cells, self.kept, self.computed, self.twice,
            {status: self.total(status) for status in STATUSES}, self.limited, self.elapsed_s, self.processor_s,
            dict(self.without_files), dict(self.plans_gone), dict(self.plans_altered),
        )  # fmt: skip
