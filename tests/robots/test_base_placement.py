import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.plan import Insertion
from robots.arm_settings import Mount
from robots.base_grid import BaseGrid
from robots.catalogue import list_robots, load_robot
from robots.clearance import Surroundings, posture_clearances
from robots.gantry import Gantry
from robots.path_reach import PathReach
from robots.reachability import Alternatives, BaseStatus, judge_places, place_base
from robots.route_options import RouteOptions

SMALL = BaseGrid(gaps_m=(0.2, 0.35), along_m=(-0.15, 0.15), heights_m=(0.0,))


@pytest.fixture(scope="module")
def around(placement, torso) -> Surroundings:
    return Surroundings(placement, torso)


@pytest.fixture(scope="module")
def alternatives() -> Alternatives:
    rng = np.random.default_rng(4)
    angle, z = rng.uniform(-2.6, -0.6, 60), rng.uniform(440.0, 600.0, 60)
    entries = np.stack([10.0 + 170.0 * np.cos(angle), -30.0 + 110.0 * np.sin(angle), z], axis=1)
    return Alternatives(entries, np.array([-62.0, -38.0, 523.0]) + rng.uniform(-10, 10, (60, 3)))


def test_a_place_is_found_from_which_every_insertion_is_carried_out(arm, placement, around, insertions):
    steps: list[float] = []
    found = place_base(
        insertions, arm, placement, around, grid=SMALL, progress=lambda _, share: steps.append(share)
    )
    assert steps == sorted(steps) and steps[-1] == 1.0
    assert found.status is BaseStatus.COMPLETE and not found.evidence
    assert found.route.reached.all() and len(found.map.places) == 8
    assert abs(found.X_WB.translation[0]) >= placement.table.half_width_m + 0.2 - 1e-12
    for insertion in found.route.insertions:
        assert insertion.patient_clearance_m >= 0.02 and insertion.limit_margin > 0


def test_the_same_place_is_found_again(arm, placement, around, insertions):
    first, second = (place_base(insertions, arm, placement, around, grid=SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.X_WB.matrix, second.X_WB.matrix)
    for one, other in zip(first.route.insertions, second.route.insertions, strict=True):
        for segment, twin in zip(one.segments, other.segments, strict=True):
            np.testing.assert_array_equal(segment.positions, twin.positions)


def test_the_map_tells_what_is_reached_from_each_place(arm, placement, around, insertions, alternatives):
    found = place_base(insertions, arm, placement, around, grid=SMALL, alternatives=alternatives)
    judged = found.map
    assert judged.positions_m.shape == (8, 3) and judged.home_clear.all()
    np.testing.assert_array_equal(judged.places[judged.chosen].matrix, found.X_WB.matrix)
    for k in (0, judged.chosen, 7):
        reach = PathReach(arm, placement, judged.places[k], around)
        own = reach.reachable(
            *(np.array([getattr(i, name) for i in insertions]) for name in ("entry_mm", "tip_mm"))
        )
        assert judged.insertions_reached[k] == own.sum()
        others = reach.reachable(alternatives.entry_mm, alternatives.tip_mm)
        assert judged.alternatives_share[k] == pytest.approx(others.mean())
    complete = judged.insertions_reached == len(insertions)
    assert found.alternatives_share >= judged.alternatives_share[complete].max() - 0.1 - 1e-9


def test_too_few_alternatives_are_said(arm, placement, around, insertions, alternatives):
    below = np.tile([[-60.0, 79.0, 520.0]], (40, 1))
    unreachable = Alternatives(
        np.concatenate([alternatives.entry_mm, below]),
        np.concatenate([alternatives.tip_mm, below - [0.0, 79.0, 0.0]]),
        0.9,
    )
    found = place_base(insertions, arm, placement, around, grid=SMALL, alternatives=unreachable)
    assert found.status is BaseStatus.COMPLETE and found.alternatives_share <= 0.6
    assert [item.subject for item in found.evidence] == ["alternatives"]
    assert f"{found.alternatives_share:.0%}" in found.evidence[0].finding
    satisfied = Alternatives(unreachable.entry_mm, unreachable.tip_mm, 0.1)
    assert not place_base(insertions, arm, placement, around, grid=SMALL, alternatives=satisfied).evidence


def test_what_is_not_reached_is_said_with_the_reason(arm, placement, around, insertions):
    from_below = Insertion((-60.0, 79.0, 520.0), (-60.0, 0.0, 520.0), "probe", (), {}, 4)
    grid = BaseGrid(gaps_m=(0.3,), along_m=(0.0,), heights_m=(0.0,))
    found = place_base((*insertions, from_below), arm, placement, around, grid=grid)
    assert found.status is BaseStatus.PARTIAL
    assert [item.subject for item in found.evidence] == ["insertion 4"]
    assert found.evidence[0].finding and found.evidence[0].remedy and not found.route.reached[3]


def test_places_out_of_reach_give_status_none_and_no_exception(arm, placement, around, insertions):
    grid = BaseGrid(gaps_m=(2.5,), along_m=(0.0,), heights_m=(0.0,))
    found = place_base(insertions, arm, placement, around, grid=grid)
    assert found.status is BaseStatus.NONE and len(found.evidence) == 3
    assert all("reach" in item.finding for item in found.evidence)
    assert found.map.insertions_reached.tolist() == [0, 0]


def test_a_place_where_the_robot_at_rest_touches_is_left_out(arm, placement, torso, insertions):
    """The scanner's ring stands where the first place is."""
    grid = BaseGrid(gaps_m=(0.35,), along_m=(0.6, -0.15), heights_m=(0.0,))
    inside = Surroundings(placement, torso, Gantry(centre_along_table_m=0.7, depth_m=0.6))
    found = place_base(insertions, arm, placement, inside, grid=grid)
    assert found.map.home_clear.tolist() == [False, True] * 2
    assert found.map.home_clear[found.map.chosen] and found.route.reached.any()
    assert (found.map.insertions_reached[~found.map.home_clear] == 0).all()


def test_bases_stand_upright_beside_the_table_and_face_it(placement):
    poses = BaseGrid().poses(placement)
    assert len(poses) == 4 * 5 * 3 * 2
    for pose in poses:
        np.testing.assert_allclose(pose.rotation[:, 2], [0, 0, 1], atol=1e-12)
        assert pose.rotation[0, 0] * pose.translation[0] < 0  # its front looks at the table
        assert abs(pose.translation[0]) > placement.table.half_width_m
    before = BaseGrid.for_mount(Mount.FLOOR, Gantry(centre_along_table_m=0.6, depth_m=0.7)).poses(placement)
    assert max(pose.translation[1] for pose in before) == pytest.approx(0.25 - 0.12)
    for pose in BaseGrid.for_mount(Mount.TABLE).poses(placement):
        assert abs(pose.translation[0]) == pytest.approx(placement.table.half_width_m)
        assert pose.translation[2] == 0.0


@pytest.mark.parametrize("name", [name for name in list_robots() if name != "needle_arm7"])
def test_every_robot_finds_a_place(name, placement, around, insertions):
    found = place_base(insertions, load_robot(name), placement, around)
    assert found.route.reached.any(), [item.finding for item in found.evidence]


def test_impossible_grids_are_refused(arm, placement, around, insertions):
    with pytest.raises(OptionError, match="at least one value"):
        BaseGrid(gaps_m=())
    with pytest.raises(OptionError, match="gap"):
        BaseGrid(gaps_m=(0.0,))
    with pytest.raises(OptionError, match="rail"):
        BaseGrid(mount=Mount.TABLE)
    with pytest.raises(OptionError, match="finite"):
        BaseGrid(along_m=(np.nan,))
    with pytest.raises(OptionError, match="sides"):
        BaseGrid(sides=(2,))
    with pytest.raises(OptionError, match="at least one insertion"):
        place_base((), arm, placement, around)
    with pytest.raises(OptionError, match="stands on the floor"):
        place_base(insertions, arm, placement, around, grid=BaseGrid.for_mount(Mount.TABLE))
    with pytest.raises(OptionError, match="array"):
        Alternatives(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(OptionError, match="share"):
        Alternatives(np.zeros((3, 3)), np.zeros((3, 3)), 1.5)


def test_a_place_where_the_robot_at_rest_is_nearer_than_its_routes_may_be_is_left_out(
    arm, placement, torso, insertions
):
    """What counts at rest is the clearance that the routes keep, which begin there."""
    grid = BaseGrid(gaps_m=(0.2,), along_m=(0.3, 0.4), heights_m=(0.0,))
    around = Surroundings(placement, torso, Gantry(centre_along_table_m=0.9, depth_m=0.7))
    judged = judge_places(insertions, None, arm, placement, around, None, grid)
    rest = [posture_clearances(arm, X_WB, arm.home[None], around).gantry_m[0] for X_WB in judged.places]
    options = RouteOptions()
    assert options.self_clearance_m < rest[1] < options.clearance_m < rest[0]
    assert judged.home_clear.tolist() == [True, False] * 2
    assert (judged.insertions_reached[[1, 3]] == 0).all()
