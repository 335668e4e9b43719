"""The manifest case.toml: its schema, and its reading with errors that name the misspelt key and the right ones.

Pydantic is used at this door only; behind it stand the plain values of ``needleplan.case.model``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from needleplan.case.identity import CaseIdentity, identity_of
from needleplan.case.model import EntryShape, PatientPosition, Role
from needleplan.case.sides import Situs
from needleplan.case.strict_tables import Name, StrictTable, checked_table, read_tables
from needleplan.errors import CaseError
from needleplan.io.frame import FileFrame, FileUnit

#: A manifest is a page of text; a file larger than this is refused unread.
MAXIMUM_MANIFEST_BYTES = 1_048_576

Coordinate = Annotated[float, Field(ge=-10_000, le=10_000)]


class ComponentTable(StrictTable):
    """One connected component (voxels that share a face) of a structure's labels.

    Attributes:
        rank: place in the order of volume, 1 for the largest.
        nearest_mm: point in patient LPS mm; the component that comes nearest to it is taken.
    """

    rank: Annotated[int, Field(ge=1)] | None = None
    nearest_mm: tuple[Coordinate, Coordinate, Coordinate] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.rank is None) == (self.nearest_mm is None):
            raise ValueError("a component needs either rank or nearest_mm")
        return self


class SourceTable(StrictTable):
    """One file that a structure comes from.

    Attributes:
        path: file, relative to the root of the sources.
        labels: label numbers, or segment names of a .seg.nrrd; absent for a mesh.
        frame: frame of the coordinates, for the formats that store none (VTI and all meshes).
        unit: length unit, for the formats or files that state none.
    """

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    labels: tuple[int | str, ...] | None = None
    frame: Annotated[FileFrame | None, Field(strict=False)] = None
    unit: Annotated[FileUnit | None, Field(strict=False)] = None

    @field_validator("labels")
    @classmethod
    def _useful(cls, value: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        if value is not None:
            if not value:
                raise ValueError("labels must list at least one number or name")
            if len(set(value)) != len(value):
                raise ValueError("labels lists a value twice")
            if any(isinstance(label, int) and label < 1 for label in value):
                raise ValueError("label numbers must be above 0, which stands for 'nothing'")
        return value


class StructureTable(StrictTable):
    """One structure; ``source`` with ``labels``, ``frame`` and ``unit`` is short for one entry of ``sources``.

    Attributes:
        name: unique within the case.
        role: what the structure means to a needle.
        source: short form: path of the only file.
        labels: short form: see ``SourceTable``.
        frame: short form: see ``SourceTable``.
        unit: short form: see ``SourceTable``.
        sources: files whose labels are united, also across different grids.
        component: takes one connected component of the union.
        clearance_mm: own least distance from a needle's surface.
        inside_of: for the target: the organ that it must lie in, where there are several.
    """

    name: Name
    role: Annotated[Role, Field(strict=False)]
    source: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    labels: tuple[int | str, ...] | None = None
    frame: Annotated[FileFrame | None, Field(strict=False)] = None
    unit: Annotated[FileUnit | None, Field(strict=False)] = None
    sources: Annotated[tuple[SourceTable, ...], Field(max_length=64)] = ()
    component: ComponentTable | None = None
    clearance_mm: Annotated[float, Field(ge=0, le=50)] | None = None
    inside_of: Name | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.clearance_mm is not None and not self.role.is_obstacle:
            raise ValueError(f"clearance_mm is for structures that needles avoid, not for the role {self.role}")
        if (self.source is None) == (not self.sources):
            raise ValueError("a structure needs either source or sources")
        if self.source is None and (self.labels or self.frame or self.unit):
            raise ValueError("labels, frame and unit belong inside each entry of sources")
        if self.inside_of is not None and self.role is not Role.TARGET:
            raise ValueError("inside_of is for the target only")
        if self.source is not None:
            _ = self.all_sources
        if len(self.all_sources) > 1 and any(entry.labels is None for entry in self.all_sources):
            raise ValueError("every entry of several sources needs labels, as meshes are not united")
        if self.component is not None and self.all_sources[0].labels is None:
            raise ValueError("a component can be taken of labels only, not of a mesh")
        return self

    @property
    def all_sources(self) -> tuple[SourceTable, ...]:
        """The sources, whichever form they were written in."""
        if self.source is None:
            return self.sources
        return (SourceTable(path=self.source, labels=self.labels, frame=self.frame, unit=self.unit),)


class EntryTable(StrictTable):
    """The surface that needles enter through where the case has no skin; see ``EntrySubstitute``."""

    shape: Annotated[EntryShape, Field(strict=False)]
    structures: tuple[Name, ...]
    grow_mm: Annotated[float, Field(ge=0, le=300)]


class Manifest(StrictTable):
    """A whole manifest.

    Attributes:
        schema_name: ``schema`` in the file: always "needleplan.case".
        version: version of the schema.
        name: identifier of the case.
        position: how the patient lies on the table.
        sources_from: "manifest": paths count from the manifest's folder; "data": from the data folder, which
            the caller or the environment variable NEEDLEPLAN_DATA names.
        structures: the structures.
        entry: stated entry surface where there is no skin.
        situs: on which side the unpaired organs lie.
        patient_key: pseudonym of the patient, never a name; see ``needleplan.case.identity.patient_key``.
        frame_of_reference_uid: DICOM Frame of Reference UID of the images that the structures come from.
    """

    schema_name: Literal["needleplan.case"] = Field(alias="schema")
    version: Literal[1]
    name: Name
    position: Annotated[PatientPosition, Field(strict=False)]
    sources_from: Literal["manifest", "data"] = "manifest"
    structures: Annotated[tuple[StructureTable, ...], Field(min_length=1, max_length=500)]
    entry: EntryTable | None = None
    situs: Annotated[Situs, Field(strict=False)] = Situs.SOLITUS
    patient_key: str | None = None
    frame_of_reference_uid: str | None = None

    @field_validator("patient_key")
    @classmethod
    def _pseudonym(cls, value: str | None) -> str | None:
        # What stands here by mistake may be a name, so no message repeats it.
        if value is not None and not re.fullmatch(r"[0-9a-fA-F]{16,128}", value):
            raise ValueError("patient_key must be 16 to 128 hexadecimal digits, and no name or number of a patient")
        return value

    @field_validator("frame_of_reference_uid")
    @classmethod
    def _uid(cls, value: str | None) -> str | None:
        if value is not None and not (
            len(value) <= 64 and re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", value, re.A)
        ):
            raise ValueError("frame_of_reference_uid must be a DICOM UID: numbers with dots between them")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [structure.name for structure in self.structures]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the structure name {name!r} is used twice")
        roles = [structure.role for structure in self.structures]
        if roles.count(Role.TARGET) != 1:
            raise ValueError(f"exactly one structure must have the role target, not {roles.count(Role.TARGET)}")
        if roles.count(Role.SKIN) > 1:
            raise ValueError("only one structure may have the role skin")
        target = next(s for s in self.structures if s.role is Role.TARGET)
        organs = [s.name for s in self.structures if s.role is Role.ORGAN]
        if target.inside_of is not None and target.inside_of not in organs:
            raise ValueError(f"inside_of names {target.inside_of!r}, which is none of the organs {organs}")
        if Role.SKIN in roles and self.entry is not None:
            raise ValueError("entry is for a case without skin: remove it, or the skin")
        if Role.SKIN not in roles and self.entry is None:
            raise ValueError(
                "the case has no structure with the role skin, so it needs [entry] with shape, structures and "
                "grow_mm to say where a needle may enter"
            )
        if self.entry is not None:
            missing = [name for name in self.entry.structures if name not in names]
            if missing or not self.entry.structures:
                raise ValueError(f"entry names {missing or 'no structure'}, where there are {', '.join(names)}")
        return self

    @property
    def identity(self) -> CaseIdentity:
        """Digests of the patient's key and the frame of reference."""
        return identity_of(self.patient_key, self.frame_of_reference_uid)


_TABLES: dict[str, type[StrictTable]] = {
    "structures": StructureTable,
    "sources": SourceTable,
    "component": ComponentTable,
    "entry": EntryTable,
}


def refused_keys(values: Mapping[str, object]) -> frozenset[str]:
    """Those keys of some top-level values that no manifest takes, before there are structures to go with them."""
    try:
        Manifest.model_validate(dict(values))
    except ValidationError as refusal:
        return frozenset(str(error["loc"][0]) for error in refusal.errors() if error["loc"]) & values.keys()
    return frozenset()


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest.

    Raises:
        CaseError: not TOML, too large, or not of the schema; the sentence names the key and the right ones.
    """
    tables, _ = read_tables(path, MAXIMUM_MANIFEST_BYTES, "a manifest")
    try:
        return checked_table(Manifest, tables, _TABLES, {"structures": "structure"})
    except CaseError as error:
        raise CaseError(f"{path}: {error}") from None
