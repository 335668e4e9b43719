import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.plan import Insertion
from robots.frames import base_pose
from robots.reachability import BaseGrid, BaseStatus, place_base, reach

SMALL = BaseGrid(gaps_m=(0.2, 0.35), along_m=(-0.15, 0.15), heights_m=(0.0,))


def test_a_place_is_found_from_which_every_insertion_is_carried_out(arm, placement, torso, insertions):
    steps: list[float] = []
    found = place_base(
        insertions, arm, placement, torso, np.random.default_rng(1), grid=SMALL,
        progress=lambda _, share: steps.append(share),
    )  # fmt: skip
    assert steps == sorted(steps) and steps[-1] == 1.0
    assert found.status is BaseStatus.COMPLETE and not found.evidence
    assert found.route.reached.all() and found.places == 8
    assert abs(found.X_WB.translation[0]) >= placement.table.half_width_m + 0.2 - 1e-12
    for insertion in found.route.insertions:
        assert insertion.patient_clearance_m >= 0.02 and insertion.limit_margin > 0


def test_the_same_seed_finds_the_same_place(arm, placement, torso, insertions):
    first, second = (
        place_base(insertions, arm, placement, torso, np.random.default_rng(1), grid=SMALL) for _ in range(2)
    )
    np.testing.assert_array_equal(first.X_WB.matrix, second.X_WB.matrix)
    for one, other in zip(first.route.insertions, second.route.insertions, strict=True):
        for segment, twin in zip(one.segments, other.segments, strict=True):
            np.testing.assert_array_equal(segment.positions, twin.positions)


def test_what_is_not_reached_is_said_with_the_reason(arm, placement, torso, insertions):
    from_below = Insertion((-60.0, 79.0, 520.0), (-60.0, 0.0, 520.0), "probe", (), {}, 4)
    grid = BaseGrid(gaps_m=(0.3,), along_m=(0.0,), heights_m=(0.0,))
    found = place_base((*insertions, from_below), arm, placement, torso, np.random.default_rng(1), grid=grid)
    assert found.status is BaseStatus.PARTIAL
    assert [item.subject for item in found.evidence] == ["insertion 4"]
    assert found.evidence[0].finding and found.evidence[0].remedy and not found.route.reached[3]


def test_places_out_of_reach_give_status_none_and_no_exception(arm, placement, torso, insertions):
    grid = BaseGrid(gaps_m=(2.5,), along_m=(0.0,), heights_m=(0.0,))
    found = place_base(insertions, arm, placement, torso, np.random.default_rng(1), grid=grid)
    assert found.status is BaseStatus.NONE and len(found.evidence) == 3
    assert all("reach" in item.finding for item in found.evidence)


def test_bases_stand_upright_beside_the_table_and_face_it(placement):
    poses = BaseGrid().poses(placement)
    assert len(poses) == 4 * 5 * 3 * 2
    for pose in poses:
        np.testing.assert_allclose(pose.rotation[:, 2], [0, 0, 1], atol=1e-12)
        assert pose.rotation[0, 0] * pose.translation[0] < 0  # its front looks at the table
        assert abs(pose.translation[0]) > placement.table.half_width_m


def test_reach_tells_each_insertion_apart(arm, placement, insertions):
    near = reach(arm, placement, base_pose([0.5, 0.15, 0.0], np.pi), insertions, np.random.default_rng(0))
    assert near.all_reached and near.reached_count == 3
    assert near.worst_score == min(solution.score for solution in near.solutions) > 0
    far = reach(arm, placement, base_pose([1.45, 0.0, 0.0], np.pi), insertions, np.random.default_rng(0))
    assert not far.all_reached and far.reached_count < 3
    assert all(solution.reason for solution in far.solutions if not solution.reached)


def test_impossible_grids_are_refused(arm, placement, torso):
    with pytest.raises(OptionError, match="at least one value"):
        BaseGrid(gaps_m=())
    with pytest.raises(OptionError, match="gap"):
        BaseGrid(gaps_m=(0.0,))
    with pytest.raises(OptionError, match="sides"):
        BaseGrid(sides=(2,))
    with pytest.raises(OptionError, match="at least one insertion"):
        place_base((), arm, placement, torso, np.random.default_rng(0))
