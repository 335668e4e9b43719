"""One function for each format that a plan is exported to; each writes its files into the folder of the export."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from needleplan.app.export_contents import (
    needle_name,
    needle_pose,
    needle_surfaces,
    plan_markups,
    structure_surfaces,
    zone_surfaces,
)
from needleplan.app.export_masks import PlanMasks, masks_of_plan, zone_field
from needleplan.app.pipeline import PlannedCase
from needleplan.case.identity import CaseIdentity, difference, identity_of
from needleplan.errors import OptionError, PlanFileError
from needleplan.io.itk_transforms import write_transform
from needleplan.io.label_writers import write_field_nifti, write_named_nifti, write_segmentation
from needleplan.io.slicer_markups import write_markups
from needleplan.io.surface_files import NamedSurface, file_stems, write_gltf, write_surfaces

if TYPE_CHECKING:
    from needleplan.io.dicom.reference import Reference


@dataclass(eq=False)
class Export:
    """What formats share, made when the first of them asks for it.

    Attributes:
        planned: the plan with its case.
        folder: where the files go.
        series: folder of a DICOM series that masks and contours shall refer to; None makes one up.
        keep_identifiers: True where the patient's identifiers of that series are taken over.
        identity: whose case it is, and which frame of reference it lies in, as far as that is stated.
        notes: what a reader must know, a sentence each; formats add theirs.
    """

    planned: PlannedCase
    folder: Path
    series: Path | None = None
    keep_identifiers: bool = False
    identity: CaseIdentity = field(default_factory=CaseIdentity)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def masks(self) -> PlanMasks:
        """Masks on the voxels of the case."""
        return self._noted(masks_of_plan(self.planned))

    @cached_property
    def reference(self) -> "Reference":
        """The DICOM series that is referred to.

        Raises:
            CaseError: the series cannot be read.
            PlanFileError: it lies in another frame of reference than the case states.
        """
        from needleplan.io.dicom.reference import made_reference, series_reference

        if self.series is not None:
            reference = series_reference(self.series, keep_identifiers=self.keep_identifiers)
            theirs = identity_of(None, reference.source.frame_of_reference_uid)
            if difference(self.identity, theirs) is not None:
                raise PlanFileError(
                    f"{self.series.name}: these images lie in another frame of reference than the case of the plan "
                    "states, so its coordinates mean nothing in them; name the series that it was planned on"
                )
            if self.identity.frame_of_reference is None:
                self.notes.append(
                    "The case states no frame of reference: that it lies in the one of these images is on the word "
                    "of whoever named them."
                )
            return reference
        self.notes.append(
            "The DICOM files refer to a made series in a frame of reference of its own: name the images by "
            "--reference to have them shown together."
        )
        return made_reference(self.masks.grid, self.planned.plan.case_hash)

    @cached_property
    def reference_masks(self) -> PlanMasks:
        """Masks on the voxels of the DICOM series."""
        if self.series is None:
            return self.masks
        return self._noted(masks_of_plan(self.planned, self.reference.grid))

    def _noted(self, masks: PlanMasks) -> PlanMasks:
        self.notes += [note for note in masks.notes if note not in self.notes]
        return masks

    @cached_property
    def zones(self) -> list[NamedSurface]:
        """Surfaces of the zones."""
        return zone_surfaces(self.planned)

    @property
    def surfaces(self) -> list[NamedSurface]:
        """Exact surfaces of structures and zones."""
        return [*structure_surfaces(self.planned, smooth=False), *self.zones]


def _markups(export: Export) -> None:
    write_markups(export.folder / "plan.mrk.json", plan_markups(export.planned))


def _seg_nrrd(export: Export) -> None:
    masks = export.masks
    write_segmentation(export.folder / "structures.seg.nrrd", masks.grid, masks.structures)
    zones = masks.zones if len(masks.zones) == 1 else (*masks.zones, masks.whole_zone)
    write_segmentation(export.folder / "zones.seg.nrrd", masks.grid, zones)


def _nifti(export: Export) -> None:
    masks, folder = export.masks, export.folder / "nifti"
    write_named_nifti(folder / "structures.nii.gz", masks.grid, masks.structures)
    write_named_nifti(folder / "zones.nii.gz", masks.grid, masks.zones)
    write_field_nifti(
        folder / "zone-distance.nii.gz",
        zone_field(export.planned, masks.grid),
        "signed distance to the zone's boundary in mm, positive inside",
    )


def _vtp(export: Export) -> None:
    write_surfaces(export.folder / "vtp", export.surfaces, ".vtp")


def _stl(export: Export) -> None:
    write_surfaces(export.folder / "stl", export.surfaces, ".stl")


def _gltf(export: Export) -> None:
    shown = [*structure_surfaces(export.planned, smooth=True), *export.zones, *needle_surfaces(export.planned)]
    write_gltf(export.folder / "scene.glb", shown)


def _transforms(export: Export, ending: str) -> None:
    insertions = export.planned.plan.insertions
    for insertion, stem in zip(insertions, file_stems([needle_name(one) for one in insertions]), strict=True):
        write_transform(export.folder / "transforms" / f"{stem}{ending}", needle_pose(insertion))


def _tfm(export: Export) -> None:
    _transforms(export, ".tfm")


def _h5(export: Export) -> None:
    _transforms(export, ".h5")


def _csv(export: Export) -> None:
    from needleplan.io.plan_table import write_plan_csv

    write_plan_csv(export.folder / "plan.csv", export.planned.plan, export.planned.anatomy.case)


def _sheet(export: Export) -> None:
    from needleplan.app.plan_sheet import write_plan_sheet

    write_plan_sheet(export.folder / "plan.html", export.planned)


def _dicom_seg(export: Export) -> None:
    from needleplan.io.dicom.segmentation_writer import NamedMask
    from needleplan.io.dicom.segmentation_writer import write_segmentation as write_dicom_segmentation

    masks = export.reference_masks
    segments = (*masks.structures, *masks.zones)
    named = [NamedMask(segment.name, segment.mask, segment.coding) for segment in segments]
    write_dicom_segmentation(export.folder / "dicom" / "segmentation.dcm", named, export.reference)


def _rtstruct(export: Export) -> None:
    from needleplan.io.dicom.structure_set_writer import NamedNeedle, write_structure_set
    from needleplan.io.dicom.structure_set_writer import NamedSurface as ContouredSurface

    target = export.planned.anatomy.case.target.name
    surfaces = [
        ContouredSurface(one.name, one.mesh, "GTV" if one.name == target else None) for one in export.surfaces
    ]
    needles = [NamedNeedle(needle_name(i), i.entry_mm, i.tip_mm) for i in export.planned.plan.insertions]
    write_structure_set(export.folder / "dicom" / "structure-set.dcm", surfaces, needles, export.reference)


#: What each format writes, by its name on the command line.
FORMATS: Mapping[str, Callable[[Export], None]] = MappingProxyType(
    {
        "markups": _markups,
        "seg-nrrd": _seg_nrrd,
        "nifti": _nifti,
        "vtp": _vtp,
        "stl": _stl,
        "gltf": _gltf,
        "tfm": _tfm,
        "h5": _h5,
        "csv": _csv,
        "sheet": _sheet,
        "dicom-seg": _dicom_seg,
        "rtstruct": _rtstruct,
    }
)
#: Formats that stand for several.
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"slicer": ("markups", "seg-nrrd", "nifti", "vtp", "tfm"), "all": tuple(FORMATS)}
)


def chosen_formats(text: str) -> tuple[str, ...]:
    """The formats that a list such as ``slicer,stl`` names, in a fixed order.

    Raises:
        OptionError: a name is unknown, or none is given.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in FORMATS and word not in GROUPS]
    if unknown or not words:
        what = f"unknown format {unknown[0]!r}" if unknown else "no format is named"
        raise OptionError(f"--to: {what}; there are {', '.join((*FORMATS, *GROUPS))}")
    named = {name for word in words for name in GROUPS.get(word, (word,))}
    return tuple(name for name in FORMATS if name in named)
