"""The folder of one planned case: which case it is for, its plan, and what was made from it."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import PydanticCustomError

from needleplan.case.identity import CaseIdentity, difference
from needleplan.case.load import load_case
from needleplan.case.manifest import read_manifest
from needleplan.case.model import Case
from needleplan.case.strict_tables import require_plain
from needleplan.errors import GeometryError, PlanFileError
from needleplan.io.bounded import read_whole
from needleplan.io.plan_file import MAXIMUM_BYTES, plan_hash, read_plan, write_json
from needleplan.io.value_json import from_json, parse_strict, to_json
from needleplan.plan import Plan
from needleplan.trajectory.skin_map import SkinMap

_SOURCE_SCHEMA = "needleplan.source"
_SKIN_SCHEMA = "needleplan.skin_map"


@dataclass(frozen=True, slots=True)
class CaseSource:
    """Where the case of a plan folder came from.

    Attributes:
        schema: always "needleplan.source".
        case: path of the manifest, relative to the folder.
        data: data folder that was named for it, relative to the folder; None where none was.
        identity: whose case it was, as digests.
        plan: hash of the plan that was written beside it; None in folders of before it was kept.
    """

    schema: str
    case: str
    data: str | None
    identity: CaseIdentity
    plan: str | None


@dataclass(frozen=True, slots=True)
class PlanFolder:
    """Paths in the folder of one planned case."""

    root: Path

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.root / "plan.json"

    @property
    def outcome(self) -> Path:
        """Outcome of the rehearsal with the strategy that was chosen."""
        return self.root / "outcome.json"

    @property
    def outcome_ungated(self) -> Path:
        """Outcome of the rehearsal in free breathing, for comparison."""
        return self.root / "outcome_ungated.json"

    @property
    def applicators(self) -> Path:
        """The user's own applicators, where the plan was made with them."""
        return self.root / "applicators.csv"

    @property
    def zones(self) -> Path:
        """The user's own zone table, where the plan was made with it."""
        return self.root / "zones.csv"

    @property
    def tables(self) -> Path:
        """Folder of the outcomes as Parquet tables."""
        return self.root / "tables"

    @property
    def rehearsals(self) -> Path:
        """Folder of what many rehearsals came to."""
        return self.root / "rehearsals"

    @property
    def moments(self) -> Path:
        """Tip errors of rehearsals at other moments of the breath."""
        return self.root / "moments.json"

    @property
    def route(self) -> Path:
        """The robot's route."""
        return self.root / "route.json"

    @property
    def robots(self) -> Path:
        """Folder of what each robot that carried out the plan needs and what is expected of it."""
        return self.root / "robots"

    @property
    def assessment(self) -> Path:
        """Scores of plan and rehearsals."""
        return self.root / "assessment.json"

    @property
    def film(self) -> Path:
        """Film of the rehearsal."""
        return self.root / "rehearsal.mp4"

    @property
    def skin_map(self) -> Path:
        """Where the candidate paths start, and what blocks the rest of the skin."""
        return self.root / "skin_map.json"

    @property
    def pictures(self) -> Path:
        """Folder of the pictures."""
        return self.root / "pictures"

    @property
    def report(self) -> Path:
        """The report."""
        return self.root / "report.html"

    @property
    def source(self) -> Path:
        """Which case the plan is for."""
        return self.root / "source.json"

    def write_skin_map(self, skin: SkinMap) -> None:
        """Keep the skin map beside the plan, from which the report draws it."""
        write_json(self.skin_map, {"schema": _SKIN_SCHEMA, "version": 1, **to_json(skin)})

    def read_skin_map(self) -> SkinMap | None:
        """The skin map of the plan; None where the folder holds none.

        Raises:
            PlanFileError: the file is damaged or holds something else.
        """
        if not self.skin_map.is_file():
            return None
        text = read_whole(self.skin_map, MAXIMUM_BYTES).decode("utf-8", errors="replace")
        data = parse_strict(text, str(self.skin_map))
        if not isinstance(data, dict) or data.pop("schema", None) != _SKIN_SCHEMA or data.pop("version", None) != 1:
            raise PlanFileError(f"{self.skin_map}: its schema must say {_SKIN_SCHEMA!r} and its version 1")
        try:
            return from_json(SkinMap, data, str(self.skin_map))
        except (GeometryError, ValueError) as error:
            raise PlanFileError(f"{self.skin_map}: {error}") from error

    def write_source(self, case: Path, data: Path | None) -> None:
        """Remember the case's manifest, its data folder, whose case it is, and the plan that stands in the folder.

        Both paths count from this folder, so that nothing of where it lies is kept, such as the name of a user.

        Raises:
            CaseError: the manifest cannot be read.
            PlanFileError: the folder holds no plan, or a damaged one.
        """
        here = self.root.resolve()
        source = CaseSource(
            _SOURCE_SCHEMA,
            os.path.relpath(case.resolve(), here),
            None if data is None else os.path.relpath(data.resolve(), here),
            read_manifest(case).identity,
            plan_hash(read_plan(self.plan)),
        )
        write_json(self.source, to_json(source))

    def load(self, data: Path | None = None) -> tuple[Plan, Case]:
        """The plan and its case, which must still be the case that was planned.

        Args:
            data: data folder; the remembered one where None.

        Raises:
            PlanFileError: the folder holds no plan, or plan or case have changed since, or the case is another
                patient's or of another frame of reference.
            CaseError: the case cannot be read.
        """
        plan = self.read_plan()
        if not self.source.is_file():
            raise PlanFileError(f"{self.root}: there is no source.json that names the case of the plan")
        source = self.read_source()
        root = data if data is not None else (None if source.data is None else self.root / source.data)
        manifest = self.root / source.case
        # Told before the case is read: of another patient's case nothing else matters.
        other = difference(source.identity, read_manifest(manifest).identity)
        if other is not None:
            raise PlanFileError(
                f"{self.plan}: the plan was made for {other} than its case states now, so it must not be used for "
                "it; plan the case again"
            )
        case = load_case(manifest, root)
        if case.content_hash != plan.case_hash:
            raise PlanFileError(
                f"{self.plan}: the plan was made for other content than case {case.name} has now "
                f"({plan.case_hash[:12]}, not {case.content_hash[:12]}); plan the case again"
            )
        if case.name != plan.case_name:
            raise PlanFileError(
                f"{self.plan}: the plan names another case than {case.name}, for which it was made; put plan.json "
                "back as it was, or plan the case again"
            )
        return plan, case

    def read_plan(self) -> Plan:
        """The plan, which must be the one that was written here; folders of before its hash was kept are not asked.

        Raises:
            PlanFileError: the folder holds no plan, or a damaged or changed one.
        """
        if self.root.is_file():
            raise PlanFileError(
                f"{self.root}: this is a file, and the folder of a plan is asked for; name the folder around it: "
                f"{self.root.parent}"
            )
        if not self.plan.is_file():
            raise PlanFileError(f"{self.root}: no plan.json; make one with: needleplan plan CASE --out DIR")
        plan = read_plan(self.plan)
        if self.source.is_file() and self.read_source().plan not in (None, plan_hash(plan)):
            raise PlanFileError(
                f"{self.plan}: the plan is not the one that was written here, so what was computed for that "
                "does not hold for it; put plan.json back as it was, or plan the case again"
            )
        orders = [each.order for each in plan.insertions]
        if orders != list(range(1, len(orders) + 1)):
            raise PlanFileError(
                f"{self.plan}: the insertions must stand in the order of puncture, numbered from 1 to "
                f"{len(orders)}, not {', '.join(str(order) for order in orders)}; plan the case again"
            )
        return plan

    def read_identity(self) -> CaseIdentity:
        """Whose case the plan is for, as digests; raises PlanFileError where that is damaged."""
        return self.read_source().identity

    def read_source(self) -> CaseSource:
        """Where the case came from; raises PlanFileError where that is damaged."""
        text = read_whole(self.source, 100_000).decode("utf-8", errors="replace")
        content = parse_strict(text, str(self.source))
        if isinstance(content, dict):
            # Folders of before these were kept hold none.
            content.setdefault("identity", to_json(CaseIdentity()))
            content.setdefault("plan", None)
        source = from_json(CaseSource, content, str(self.source))
        for name, path in (("case", source.case), ("data", source.data)):
            try:
                if path is not None:
                    # It is printed wherever something is wrong with it.
                    require_plain(path)
            except PydanticCustomError as error:
                raise PlanFileError(f"{self.source}: {name}: {error.message()}") from error
        if source.schema != _SOURCE_SCHEMA:
            raise PlanFileError(f"{self.source}: its schema must say {_SOURCE_SCHEMA!r}")
        return source
