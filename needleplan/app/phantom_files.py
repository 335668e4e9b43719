"""The built-in patient as files: a manifest and one label map."""

from pathlib import Path

from numpy.typing import ArrayLike

from needleplan.anatomy.phantom import Phantom
from needleplan.io.nifti import write_labels_nifti
from needleplan.io.plan_file import write_text

#: Names of the files in the folder.
MANIFEST_NAME = "case.toml"
LABELS_NAME = "labels.nii.gz"


def save_phantom(
    phantom: Phantom, folder: Path, voxel_mm: float | ArrayLike = 2.0, image_rotation: ArrayLike | None = None
) -> Path:
    """Writes the patient so that ``load_case`` reads the case that ``phantom.case`` of the same arguments gives.

    Args:
        phantom: the patient.
        folder: where to; made where it is missing, files of the same names replaced.
        voxel_mm: voxel size, see ``Phantom.image_grid``.
        image_rotation: axes of the image, see ``Phantom.image_grid``.

    Returns:
        The path of the manifest.

    Raises:
        OptionError: the voxels are impossible; nothing is written then.
    """
    # Before the folder is made: what is refused leaves none.
    labels = phantom.label_map(voxel_mm, image_rotation)
    folder.mkdir(parents=True, exist_ok=True)
    write_labels_nifti(folder / LABELS_NAME, labels.grid, labels.labels)
    lines = [
        'schema = "needleplan.case"',
        "version = 1",
        f'name = "{phantom.name}"',
        'position = "supine"',
    ]
    for structure in phantom.structures:
        numbers = ", ".join(str(number) for number in labels.numbers[structure.name])
        lines += [
            "",
            "[[structures]]",
            f'name = "{structure.name}"',
            f'role = "{structure.role.value}"',
            f'source = "{LABELS_NAME}"',
            f"labels = [{numbers}]",
        ]
    manifest = folder / MANIFEST_NAME
    write_text(manifest, "\n".join(lines) + "\n")
    return manifest
