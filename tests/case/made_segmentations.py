"""The built-in patient as segmentation programs would write it, on an oblique and anisotropic grid."""

from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import nibabel
import numpy as np

from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.grid import Grid
from needleplan.io.nifti import positioned_image, write_labels_nifti

#: Class names of TotalSegmentator and the labels of the built-in patient that stand for them.
CLASSES = {
    "liver": (6,), "liver_vessels": (7, 9), "portal_vein_and_splenic_vein": (8, 10), "inferior_vena_cava": (11,),
    "aorta": (12,), "gallbladder": (13,), "kidney_right": (14,), "kidney_left": (15,), "spleen": (16,),
    "stomach": (17,), "colon": (18,), "heart": (19,), "lung_lower_lobe_right": (20,), "lung_lower_lobe_left": (21,),
    "sternum": (3,), "costal_cartilages": (4,), "vertebrae_L1": (5,), "liver_tumor": (22, 23),
}  # fmt: skip


@cache
def patient() -> tuple[Grid, np.ndarray]:
    """Grid and labels; turned about two axes, voxels of 4 x 4.5 x 5 mm, second axis mirrored."""
    a, b = 0.12, -0.08
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    phantom = make_phantom(PhantomParameters(), np.random.default_rng(1))
    made = phantom.label_map((4.0, 4.5, 5.0), about_z @ about_x)
    matrix = np.array(made.grid.T_PV)
    matrix[:3, 3] = made.grid.to_patient((0, made.grid.shape[1] - 1, 0))
    matrix[:3, 1] *= -1
    return Grid(made.grid.shape, matrix), made.labels[:, ::-1]


def masks() -> dict[str, np.ndarray]:
    """Every class as an array of truths; ribs by side, the body, and an organ that the image does not show."""
    grid, labels = patient()
    found = {name: np.isin(labels, values) for name, values in CLASSES.items()}
    left = grid.centres_mm()[:, 0].reshape(grid.shape) > 0
    found["rib_left_7"], found["rib_right_7"] = (labels == 2) & left, (labels == 2) & ~left
    found["body_trunc"] = labels > 0
    found["autochthon_left"] = np.roll(labels == 5, 6, axis=0) & (labels == 1)
    found["esophagus"] = np.zeros(grid.shape, dtype=bool)
    return found


def write_folder(folder: Path, chosen: dict[str, np.ndarray] | None = None, grid: Grid | None = None) -> Path:
    """One file a class, as TotalSegmentator writes them, and its statistics."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, mask in (masks() if chosen is None else chosen).items():
        write_labels_nifti(folder / f"{name}.nii.gz", grid or patient()[0], mask.astype(np.uint8))
    (folder / "statistics.json").write_text('{"liver": {"volume": 1200000.0, "intensity": 0.0}}')
    return folder


def exclusive() -> tuple[dict[int, str], np.ndarray]:
    """Names by numbers that belong to no version of any program, and one label map of the classes but the body."""
    chosen = {name: mask for name, mask in masks().items() if name != "body_trunc"}
    values = np.zeros(patient()[0].shape, dtype=np.uint8)
    names = {}
    for number, (name, mask) in enumerate(sorted(chosen.items(), reverse=True), 3):
        values[mask] = number
        names[number] = name
    return names, values


def label_table(names: dict[int, str]) -> bytes:
    """The XML that TotalSegmentator puts into the header."""
    rows = "\n".join(
        f'<Label Key="{key}" Red="0.1" Green="1" Blue="0" Alpha="1"><![CDATA[{name}]]></Label>'
        if "]]>" not in name
        else f'<Label Key="{key}">{escape(name)}</Label>'
        for key, name in names.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>  <Date><![CDATA[2013-07-14T05:45:09]]></Date>   '
        f'<VolumeInformation Index="0">   <LabelTable>\n{rows}\n  </LabelTable>  <StudyMetaDataLinkSet>'
        "  </StudyMetaDataLinkSet>  <VolumeType><![CDATA[Label]]></VolumeType>   "
        "</VolumeInformation></CaretExtension>\n"
        "              "
    ).encode()


def write_multilabel(path: Path, content: bytes | None = None, names: dict[int, str] | None = None) -> Path:
    """One label map with a table of names in its header, or with whatever ``content`` is."""
    own, values = exclusive()
    image = positioned_image(patient()[0], values)
    table = label_table(own if names is None else names) if content is None else content
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, table))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path
