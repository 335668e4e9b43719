"""The built-in patient on disk is the patient in memory."""

from pathlib import Path

import numpy as np
import pytest

from needleplan.anatomy.phantom import Phantom, PhantomParameters, make_phantom
from needleplan.anatomy.phantom_layout import rotation
from needleplan.app.phantom_files import save_phantom
from needleplan.case.load import load_case
from needleplan.case.model import Severity
from needleplan.errors import OptionError


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(PhantomParameters(), np.random.default_rng(1))


@pytest.mark.parametrize(
    ("voxel_mm", "turn"),
    [((3.0, 3.0, 3.0), None), ((2.2, 3.1, 4.0), rotation((12.0, -8.0, 20.0)))],
    ids=["axial", "oblique"],
)
def test_saved_patient_reads_back_as_the_same_case(
    phantom: Phantom, tmp_path: Path, voxel_mm: tuple[float, float, float], turn: np.ndarray | None
) -> None:
    case = phantom.case(voxel_mm, image_rotation=turn)
    read = load_case(save_phantom(phantom, tmp_path / "patient", voxel_mm, turn))
    assert read.content_hash == case.content_hash
    assert [(s.name, s.role) for s in read.structures] == [(s.name, s.role) for s in case.structures]
    for mine, theirs in zip(case.structures, read.structures, strict=True):
        assert np.array_equal(mine.geometry.inside, theirs.geometry.inside), mine.name
        assert theirs.geometry.grid.T_PV == pytest.approx(mine.geometry.grid.T_PV, abs=1e-5)
    assert {finding.severity for finding in read.findings} <= {Severity.NOTE, Severity.WARNING}


def test_saving_twice_gives_the_same_manifest(phantom: Phantom, tmp_path: Path) -> None:
    first = save_phantom(phantom, tmp_path, 5.0).read_text()
    assert save_phantom(phantom, tmp_path, 5.0).read_text() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case.toml", "labels.nii.gz"]


def test_impossible_voxels_leave_no_folder(phantom: Phantom, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="voxel_mm must lie in"):
        save_phantom(phantom, tmp_path / "x", 0.0)
    assert not (tmp_path / "x").exists()
