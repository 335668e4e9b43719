"""A case whose structures come from DICOM files: segments by name, regions by name, and refusals by file."""

import numpy as np
import pytest
from made_dicom import named, placed, sphere

from needleplan.case.load import inspect_case, load_case
from needleplan.errors import CaseError
from needleplan.grid import Grid, VoxelMask
from needleplan.io.dicom.reference import made_reference, write_reference_series
from needleplan.io.dicom.segmentation_writer import write_segmentation
from needleplan.io.dicom.structure_set_writer import NamedSurface, write_structure_set

MATRIX = np.diag([4.0, 4.4, 5.0, 1.0])
MATRIX[:3, 3] = [-120, -100, 40]
GRID = Grid((60, 50, 40), MATRIX)
CENTRE = GRID.to_patient((np.asarray(GRID.shape) - 1) / 2)

MANIFEST = """
schema = "needleplan.case"
version = 1
name = "from-dicom"
position = "supine"

[[structures]]
name = "skin"
role = "skin"
source = "series/{file}.dcm"
labels = ["skin"]

[[structures]]
name = "liver"
role = "organ"
source = "series/{file}.dcm"
labels = ["{liver}"]

[[structures]]
name = "tumour"
role = "target"
source = "series/{file}.dcm"
labels = ["tumour"]
"""


@pytest.fixture
def folder(tmp_path):
    """A series, and beside it a segmentation and a structure set of the same balls."""
    reference = made_reference(GRID)
    series = tmp_path / "series"
    write_reference_series(series, reference)
    radii = {"skin": 80.0, "liver": 50.0, "tumour": 20.0}
    distance = np.linalg.norm(GRID.centres_mm() - CENTRE, axis=1).reshape(GRID.shape)
    write_segmentation(series / "seg.dcm", named(GRID, {n: distance < r for n, r in radii.items()}), reference)
    surfaces = [NamedSurface(name, placed(sphere(radius, 4), GRID)) for name, radius in radii.items()]
    write_structure_set(series / "rs.dcm", surfaces, [], reference)
    return tmp_path


@pytest.mark.parametrize("file", ["seg", "rs"])
def test_structures_are_named_as_in_the_file(folder, file):
    (folder / "case.toml").write_text(MANIFEST.format(file=file, liver="liver"))
    case = load_case(folder / "case.toml")
    for name, radius in (("liver", 50.0), ("tumour", 20.0)):
        geometry = next(one.geometry for one in case.structures if one.name == name)
        assert isinstance(geometry, VoxelMask)
        np.testing.assert_allclose(geometry.volume_mm3, 4 / 3 * np.pi * radius**3, rtol=0.03)
        middle = geometry.grid.to_patient(np.argwhere(geometry.inside)).mean(axis=0)
        np.testing.assert_allclose(middle, CENTRE, atol=0.3)


def test_two_frames_of_reference_in_one_case_are_refused(folder):
    distance = np.linalg.norm(GRID.centres_mm() - CENTRE, axis=1).reshape(GRID.shape)
    other = made_reference(GRID, "another")
    write_segmentation(folder / "series" / "other.dcm", named(GRID, {"tumour": distance < 20.0}), other)
    text = MANIFEST.format(file="seg", liver="liver")
    at = text.rindex("seg.dcm")
    (folder / "case.toml").write_text(text[:at] + "other.dcm" + text[at + 7 :])
    with pytest.raises(CaseError, match="rame of reference"):
        load_case(folder / "case.toml")


def test_an_unknown_segment_and_a_missing_series_are_named(folder):
    (folder / "case.toml").write_text(MANIFEST.format(file="seg", liver="lever"))
    with pytest.raises(CaseError, match="lever"):
        load_case(folder / "case.toml")
    (folder / "case.toml").write_text(MANIFEST.format(file="rs", liver="liver"))
    for path in (folder / "series").glob("0*.dcm"):
        path.unlink()
    report = inspect_case(folder / "case.toml")
    assert report.case is None
    assert "same folder" in report.refused[0].message
