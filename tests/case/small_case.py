"""A small whole case on an oblique grid, as files, for tests that break it in one place."""

from pathlib import Path

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.grid import Grid
from needleplan.io.meshes import write_mesh
from needleplan.io.nifti import write_labels_nifti

SKIN, LIVER, TUMOUR, VESSEL, BONE, BLOB = 1, 2, 3, 4, 5, 6
SHAPE = (48, 40, 30)


def grid() -> Grid:
    """Anisotropic, turned about two axes, second axis mirrored, off the origin."""
    a, b = 0.3, -0.2
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x * [3.0, -3.5, 4.0]
    matrix[:3, 3] = [140.0, 190.0, -730.0]
    return Grid(SHAPE, matrix)


def labels() -> np.ndarray:
    """Exclusive labels: a body, in it a liver, in that a tumour and a vessel, and beside it a bone."""
    i, j, k = np.indices(SHAPE, dtype=float)
    values = np.zeros(SHAPE, dtype=np.uint8)
    values[((i - 24) / 21) ** 2 + ((j - 20) / 17) ** 2 + ((k - 15) / 13) ** 2 < 1] = SKIN
    values[((i - 18) / 11) ** 2 + ((j - 20) / 9) ** 2 + ((k - 15) / 8) ** 2 < 1] = LIVER
    values[((i - 15) / 4) ** 2 + ((j - 22) / 3.5) ** 2 + ((k - 16) / 3) ** 2 < 1] = TUMOUR
    values[20:24, 18:20, 10:20] = VESSEL
    values[34:38, 16:24, 6:24] = BONE
    values[29, 20, 15] = BLOB
    return values


def ball(centre_mm, radius_mm: float, subdivisions: int = 2) -> SurfaceMesh:
    """A closed ball-like surface that looks outward."""
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius_mm)
    return SurfaceMesh(np.asarray(sphere.vertices) + np.asarray(centre_mm), np.asarray(sphere.faces))


def centre_mm(label: int) -> np.ndarray:
    """Centre of a label in patient LPS mm."""
    return grid().to_patient(np.argwhere(labels() == label).mean(axis=0))


def manifest(**changes: str) -> str:
    """The manifest, each structure's table being replaceable; the word "extra" adds text at the end."""
    parts = {
        "head": 'schema = "needleplan.case"\nversion = 1\nname = "small"\nposition = "supine"\n',
        "tumour": table("tumour", "target", [TUMOUR]),
        "liver": table("liver", "organ", [LIVER, TUMOUR, VESSEL]),
        "skin": table("skin", "skin", [1, 2, 3, 4, 5, 6]),
        "vessel": table("vessel", "vessel", [VESSEL]),
        "bone": table("bone", "bone", [BONE]),
        "extra": "",
    } | changes
    return "\n".join(parts.values())


def table(name: str, role: str, values: list, source: str = "labels.nii.gz", more: str = "") -> str:
    """One [[structures]] table from labels."""
    listed = ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)
    return f'[[structures]]\nname = "{name}"\nrole = "{role}"\nsource = "{source}"\nlabels = [{listed}]\n{more}\n'


def mesh_table(name: str, role: str, source: str, frame: str = "LPS", unit: str = "mm") -> str:
    """One [[structures]] table from a surface."""
    stated = f'frame = "{frame}"\nunit = "{unit}"\n'
    return f'[[structures]]\nname = "{name}"\nrole = "{role}"\nsource = "{source}"\n{stated}'


def write_case(folder: Path, values: np.ndarray | None = None, **changes: str) -> Path:
    """Write label map and manifest; returns the manifest's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_labels_nifti(folder / "labels.nii.gz", grid(), labels() if values is None else values)
    path = folder / "case.toml"
    path.write_text(manifest(**changes))
    return path


def write_case_with_mesh(folder: Path, mesh: SurfaceMesh, ending: str = "ply", **options: str) -> Path:
    """The case with its vessel as a surface file."""
    path = write_case(folder, vessel=mesh_table("vessel", "vessel", f"vessel.{ending}", **options))
    write_mesh(folder / f"vessel.{ending}", mesh)
    return path
