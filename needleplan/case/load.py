"""From case.toml to a checked Case, or to a report of everything that is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.case import checks
from needleplan.case.content_hash import content_hash
from needleplan.case.identity import bound_hash, identity_of
from needleplan.case.manifest import Manifest, SourceTable, StructureTable, read_manifest
from needleplan.case.masks import LabelIndex, component, unite
from needleplan.case.mesh_checks import mend_surface
from needleplan.case.model import Case, EntrySubstitute, Finding, Role, Severity, Structure
from needleplan.case.sides import check_sides
from needleplan.case.solids import bounds_mm, volume_ml
from needleplan.case.sources import resolve_source, source_root
from needleplan.errors import CaseError, NeedleplanError
from needleplan.grid import Grid, VoxelMask
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.labels import read_labels
from needleplan.io.meshes import read_mesh


@dataclass(frozen=True, slots=True)
class StructureRow:
    """What the report tells of one structure.

    Attributes:
        name: its name.
        role: its role.
        kind: "voxels" or "surface".
        volume_ml: its volume.
        elements: number of voxels inside, or of faces.
        watertight: True where the surface is closed; a mask always bounds one.
        extent_mm: sides of its bounding box along left-right, front-back, foot-head.
    """

    name: str
    role: Role
    kind: str
    volume_ml: float
    elements: int
    watertight: bool
    extent_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class CaseReport:
    """The result of the checks.

    Attributes:
        path: the manifest.
        name: name of the case; "" where the manifest could not be read.
        rows: one for each structure that could be read.
        findings: everything that was found, refusals first.
        case: the checked case; None where anything was refused.
    """

    path: Path
    name: str
    rows: tuple[StructureRow, ...]
    findings: tuple[Finding, ...]
    case: Case | None

    @property
    def refused(self) -> tuple[Finding, ...]:
        """The findings that forbid planning."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.REFUSED)


def load_case(path: Path | str, data_root: Path | str | None = None) -> Case:
    """Read a case and check it.

    Args:
        path: the manifest case.toml.
        data_root: folder that relative sources count from; see ``Manifest.sources_from`` for where None leads.

    Raises:
        CaseError: the first finding that forbids planning, as one sentence.
    """
    report = inspect_case(path, data_root)
    if report.case is None:
        first = report.refused[0]
        raise CaseError(f"{first.message}; {first.remedy}" if first.remedy else first.message)
    return report.case


def inspect_case(path: Path | str, data_root: Path | str | None = None) -> CaseReport:
    """Read a case as far as possible and report everything that was found; raises nothing for bad input.

    Args:
        path: the manifest case.toml.
        data_root: as for ``load_case``.
    """
    path = Path(path)
    try:
        manifest = read_manifest(path)
        root = source_root(manifest, path, None if data_root is None else Path(data_root))
    except CaseError as error:
        return CaseReport(path, "", (), (Finding(Severity.REFUSED, "manifest", "", str(error), ""),), None)
    reader = _Reader(manifest, root)
    structures = reader.structures()
    findings = list(reader.findings)
    complete = len(structures) == len(manifest.structures)
    findings += _relations(manifest, structures, reader.images, complete)
    findings.sort(key=lambda finding: list(Severity).index(finding.severity))
    rows = tuple(_row(structure) for structure in structures)
    case = None
    if complete and not any(finding.severity is Severity.REFUSED for finding in findings):
        entry = manifest.entry
        substitute = None if entry is None else EntrySubstitute(entry.shape, entry.structures, entry.grow_mm)
        digest = bound_hash(
            content_hash(manifest.name, manifest.position, structures, substitute),
            identity_of(manifest.patient_key, reader.frame_of_reference_uid),
        )
        case = Case(
            manifest.name,
            tuple(structures),
            manifest.position,
            digest,
            substitute,
            tuple(findings),
            manifest.position.up,
        )
    return CaseReport(path, manifest.name, rows, tuple(findings), case)


def _relations(
    manifest: Manifest, structures: list[Structure], images: list[Grid], complete: bool
) -> list[Finding]:
    """Findings about several structures together."""
    findings = checks.check_view(structures)
    target = next((s for s in structures if s.role is Role.TARGET), None)
    if target is not None and complete:
        chosen = next(table.inside_of for table in manifest.structures if table.role is Role.TARGET)
        organs = [s for s in structures if s.role is Role.ORGAN and chosen in (None, s.name)]
        findings += checks.check_target(target, organs)
    if complete:
        findings += checks.check_places(structures, images)
        findings += check_sides(structures, manifest.situs)
    if manifest.entry is not None:
        substitute = EntrySubstitute(manifest.entry.shape, manifest.entry.structures, manifest.entry.grow_mm)
        findings.append(
            Finding(Severity.NOTE, "no-skin", "", substitute.note.rstrip("."), "add a skin, if it was segmented")
        )
    return findings


def _row(structure: Structure) -> StructureRow:
    geometry = structure.geometry
    low, high = bounds_mm(geometry)
    sides = [float(side) for side in high - low]
    if isinstance(geometry, VoxelMask):
        kind, elements, watertight = "voxels", int(geometry.inside.sum()), True
    else:
        kind, elements, watertight = "surface", len(geometry.faces), geometry.is_watertight
    extent = (sides[0], sides[1], sides[2])
    return StructureRow(structure.name, structure.role, kind, volume_ml(geometry), elements, watertight, extent)


class _Reader:
    """Reads every file of a manifest once, and makes the structures from them.

    A label map is dropped as soon as the masks of all structures are cut out of it, so that one whole volume is
    in memory at a time.
    """

    def __init__(self, manifest: Manifest, root: Path) -> None:
        self.findings: list[Finding] = []
        self.images: list[Grid] = []
        self._manifest = manifest
        self._root = root
        self._failed: set[str] = set()
        #: DICOM frame of reference that the manifest states, or else the one that its files state.
        self.frame_of_reference_uid = manifest.frame_of_reference_uid

    def structures(self) -> list[Structure]:
        """All structures that could be made and are not refused by themselves, in the manifest's order."""
        masks = self._masks()
        made = []
        for table in self._manifest.structures:
            if table.name in self._failed:
                continue
            try:
                geometry = self._geometry(table, masks)
            except NeedleplanError as error:
                self._refuse(table.name, "unreadable", error)
                continue
            if geometry is None:
                continue
            structure = Structure(table.name, table.role, geometry, table.clearance_mm)
            self.findings += checks.check_size(structure)
            self.findings += checks.check_pieces(structure)
            made.append(structure)
        return made

    def _masks(self) -> dict[tuple[str, int], VoxelMask]:
        """The mask of every labelled source, by structure name and place in its list."""
        wanted: dict[Path, list[tuple[StructureTable, int, SourceTable]]] = {}
        for table in self._manifest.structures:
            for number, source in enumerate(table.all_sources):
                try:
                    path = resolve_source(self._root, source.path)
                except CaseError as error:
                    self._refuse(table.name, "path", error)
                    continue
                if source.labels is not None:
                    wanted.setdefault(path, []).append((table, number, source))
        masks = {}
        for path, uses in wanted.items():
            try:
                index = LabelIndex(read_labels(path, *self._statement(path, uses)))
                self._require_frame_of_reference(path, index.volume.frame_of_reference_uid)
            except NeedleplanError as error:
                self._refuse(uses[0][0].name, "unreadable", error)
                self._failed |= {table.name for table, _, _ in uses}
                continue
            self.images.append(index.volume.grid)
            for table, number, source in uses:
                try:
                    masks[table.name, number] = index.mask(source.labels or (), str(path))
                except NeedleplanError as error:
                    self._refuse(table.name, "label", error)
        return masks

    def _require_frame_of_reference(self, path: Path, uid: str | None) -> None:
        """All files that state a frame of reference must state one and the same."""
        if self.frame_of_reference_uid is None:
            self.frame_of_reference_uid = uid
        elif uid not in (None, self.frame_of_reference_uid):
            raise CaseError(
                f"{path}: its coordinates are of another frame of reference than those of the rest of the case; "
                "use segmentations of one series, or register them first"
            )

    def _statement(
        self, path: Path, uses: list[tuple[StructureTable, int, SourceTable]]
    ) -> tuple[FileFrame | None, FileUnit | None]:
        """Frame and unit that the manifest states for a file; they must agree between structures."""
        statements = {(source.frame, source.unit) for _, _, source in uses}
        if len(statements) > 1:
            raise CaseError(f"{path}: the manifest states different frames or units for this file")
        return statements.pop()

    def _geometry(
        self, table: StructureTable, masks: dict[tuple[str, int], VoxelMask]
    ) -> VoxelMask | SurfaceMesh | None:
        sources = table.all_sources
        if sources[0].labels is not None:
            whole = unite([masks[table.name, number] for number in range(len(sources))])
            if table.component is None:
                return whole
            try:
                return component(whole, table.component.rank, table.component.nearest_mm)
            except CaseError as error:
                raise CaseError(f"{table.name}: {error}") from None
        source = sources[0]
        mesh = read_mesh(resolve_source(self._root, source.path), source.frame, source.unit)
        mended, findings = mend_surface(table.name, mesh)
        self.findings += findings
        return mended

    def _refuse(self, name: str, code: str, error: NeedleplanError) -> None:
        self._failed.add(name)
        self.findings.append(Finding(Severity.REFUSED, code, name, f"structure {name!r}: {error}", ""))
