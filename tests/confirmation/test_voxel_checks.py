"""Maps that are noise are refused before any work, and structures of few voxels are said."""

import time

import numpy as np
import pytest

from needleplan.confirmation.alignment import same_frame
from needleplan.confirmation.confirm import confirm
from needleplan.confirmation.voxel_checks import require_smooth
from needleplan.errors import GeometryError
from needleplan.grid import Grid, VoxelMask
from tests.confirmation.made_balls import ball

CENTRE = np.array([24.0, 24.0, 24.0])
TUMOUR, ZONE = ball(CENTRE, 8.0), ball(CENTRE, 14.0)


def test_maps_of_noise_are_refused_before_any_work():
    rng = np.random.default_rng(0)
    noise = VoxelMask(Grid((48, 48, 48), np.diag([0.5, 0.5, 0.5, 1.0])), rng.random((48, 48, 48)) < 0.5)
    started = time.process_time()
    for tumour, zone in ((noise, ZONE), (TUMOUR, noise)):
        with pytest.raises(GeometryError, match="faces of voxels"):
            confirm(tumour, zone, same_frame())
    assert time.process_time() - started < 2.0
    large = ball(CENTRE, 30.0, (0.5, 0.5, 0.5))
    require_smooth(large, "zone")
    with pytest.raises(GeometryError, match="the border of the zone"):
        require_smooth(large, "zone", 50_000)


def test_the_faces_of_a_box_are_counted_at_the_edge_of_its_map_too():
    box = VoxelMask(Grid((2, 3, 4), np.eye(4)), np.ones((2, 3, 4), dtype=bool))
    require_smooth(box, "box", 52)
    with pytest.raises(GeometryError, match="52 faces"):
        require_smooth(box, "box", 51)


def test_structures_of_one_or_two_voxels_are_said_not_to_be_resolved():
    shape = (2, 1, 2)
    matrix = np.diag([1.5, 1.5, 1.5, 1.0])
    matrix[:3, 3] = CENTRE
    tiny = VoxelMask(Grid(shape, matrix), np.ones(shape, dtype=bool))
    assert any("tumour is only 1 voxel(s) thick" in note for note in confirm(tiny, ZONE, same_frame()).notes)
    assert not any("thick" in note for note in confirm(TUMOUR, ZONE, same_frame()).notes)
