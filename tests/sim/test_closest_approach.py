from collections.abc import Callable, Sequence

import numpy as np
import pytest
import trimesh
from made_patient import ellipsoid, make_anatomy, make_plan, surface

import sim.closest_approach
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, unit_vector
from sim.closest_approach import INSIDE_MM, ClosestApproach
from sim.sure_distances import MOMENTS, Shaft, SureDistances

RADIUS = 0.9
NO_BREAK = np.zeros(0, dtype=np.int64)


def queries_of(**meshes: tuple[Role, SurfaceMesh]) -> AnatomyQueries:
    """An anatomy of a large skin, a far target and the given structures."""
    given = {
        "skin": (Role.SKIN, ellipsoid((0, 0, 0), (600, 600, 600))),
        "tumour": (Role.TARGET, ellipsoid((0, 0, 500), (5, 5, 5))),
    } | meshes
    case = Case(
        "made",
        tuple(Structure(name, role, mesh) for name, (role, mesh) in given.items()),
        PatientPosition.SUPINE,
        "h",
    )
    surfaces = tuple(surface(name, role, mesh) for name, (role, mesh) in given.items())
    return AnatomyQueries(Anatomy(case, surfaces, surfaces[0], np.ones(len(surfaces[0].mesh.faces), dtype=bool)))


def cylinder(radius: float, start: Sequence[float], end: Sequence[float], sections: int = 180) -> SurfaceMesh:
    made = trimesh.creation.cylinder(radius, segment=np.array([start, end], dtype=float), sections=sections)
    return SurfaceMesh(np.asarray(made.vertices), np.asarray(made.faces))


def line(start: Sequence[float], end: Sequence[float], count: int = 9) -> FloatArray:
    return np.linspace(np.asarray(start, dtype=float), np.asarray(end, dtype=float), count)


def test_a_needle_beside_and_within_a_ball() -> None:
    centre = np.array([12.0, -5.0, 30.0])
    ball = queries_of(ball=(Role.ORGAN, ellipsoid(tuple(centre), (20, 20, 20), 96)))
    along, out = unit_vector([1.0, 2.0, -0.7]), unit_vector([2.0, -1.0, 0.0])
    for away in (20.5, 31.0, 60.0):
        approach = ClosestApproach(ball, RADIUS)
        middle = centre + away * out
        assert approach.add(line(middle - 40 * along, middle + 35 * along)) == ()
        assert approach.least_mm["ball"] == pytest.approx(away - 20 - RADIUS, abs=0.02)
    # The tip within: it is the deepest point; a needle right through: the middle is.
    for tip, deepest in ((-14.0, 6.0), (0.0, 20.0), (30.0, 20.0)):
        approach = ClosestApproach(ball, RADIUS)
        assert approach.add(line(centre - 60 * along, centre + tip * along, 4)) == ("ball",)
        assert approach.least_mm["ball"] == pytest.approx(-deepest - RADIUS, abs=INSIDE_MM + 0.02)
    # A chord whose deepest point lies between its corners.
    approach = ClosestApproach(ball, RADIUS)
    middle = centre + 12.0 * out
    approach.add(line(middle - 40 * along, middle + 47 * along, 2))
    assert approach.least_mm["ball"] == pytest.approx(-8.0 - RADIUS, abs=INSIDE_MM + 0.02)


@pytest.mark.parametrize("away", [7.5, 18.0])
def test_a_needle_askew_to_a_tube(away: float) -> None:
    axis, along = unit_vector([0.3, 1.0, 0.2]), unit_vector([1.0, 0.2, -0.6])
    across = unit_vector(np.cross(axis, along))
    place = np.array([5.0, 40.0, -20.0])
    tube = queries_of(tube=(Role.VESSEL, cylinder(6.0, place - 90 * axis, place + 90 * axis)))
    approach = ClosestApproach(tube, RADIUS)
    point = place + away * across + 10 * axis
    approach.add(line(point - 50 * along, point + 50 * along, 21))
    assert approach.least_mm["tube"] == pytest.approx(away - 6.0 - RADIUS, abs=0.005)
    assert approach.punctured == ()


def breathing_shafts(anatomy: Anatomy, seed: int, calls: int = 160) -> list[tuple[FloatArray, np.ndarray]]:
    """A needle that advances along an oblique path while the body slides and turns, with and without a jump."""
    rng = np.random.default_rng(seed)
    plan = make_plan(anatomy).insertions[0]
    entry, way = np.asarray(plan.entry_mm), np.asarray(plan.tip_mm) - np.asarray(plan.entry_mm)
    goal = entry + rng.uniform(0.6, 1.6) * way + rng.normal(0, 12, 3)
    slide, bend = rng.normal(0, 8, 3), rng.normal(0, 3, 3)
    shafts = []
    for k in range(calls):
        depth = min(1.0, 0.05 + k / (0.6 * calls))
        share = np.linspace(0, depth, int(2 + 20 * depth))[:, None]
        moved = np.sin(2 * np.pi * k / 40.0) ** 2
        points = entry + share * (goal - entry) + share**2 * bend * moved
        within = share[:, 0] > 0.35
        points[within] += moved * slide
        shafts.append((points, within))
    return shafts


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_out_would_have_changed_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    anatomy = make_anatomy()
    queries = AnatomyQueries(anatomy)
    measured = [0]

    def counted(*args: object, **keywords: object) -> object:
        measured[0] += 1
        return original(*args, **keywords)

    original = sim.closest_approach._measured
    monkeypatch.setattr(sim.closest_approach, "_measured", counted)
    approach = ClosestApproach(queries, RADIUS)
    shafts = breathing_shafts(anatomy, seed)
    entered = [name for points, within in shafts for name in approach.add(points, within)]
    assert tuple(entered) == approach.punctured and len(set(entered)) == len(entered)
    assert measured[0] < 0.4 * len(shafts) * len(approach.least_mm)
    # Each moment by itself, by an object that remembers nothing.
    least, inside = dict.fromkeys(approach.least_mm, np.inf), set()
    for points, within in shafts:
        alone = ClosestApproach(queries, RADIUS)
        inside |= set(alone.add(points, within))
        least = {name: min(value, alone.least_mm[name]) for name, value in least.items()}
    assert inside == set(entered)
    for name, value in approach.least_mm.items():
        if name in inside:
            assert value == pytest.approx(least[name], abs=INSIDE_MM)
        else:
            assert value == least[name]


def test_distances_agree_with_points_along_the_needle() -> None:
    anatomy = make_anatomy()
    queries = AnatomyQueries(anatomy)
    approach = ClosestApproach(queries, RADIUS)
    shafts = breathing_shafts(anatomy, 9, 60)
    points = []
    for shaft, within in shafts:
        approach.add(shaft, within)
        joined = within[1:] == within[:-1]
        share = np.linspace(0, 1, 9)[:, None, None]
        points.append((shaft[:-1] + share * (shaft[1:] - shaft[:-1]))[:, joined].reshape(-1, 3))
    samples = np.concatenate(points)
    for name, value in approach.least_mm.items():
        sampled = queries.distance(anatomy.surface(name)).signed_distance_mm(samples).min() - RADIUS
        # Samples are 0.5 mm apart at most, so no point of the needle is more than 0.25 mm nearer than one of them.
        assert min(sampled, 50.0) - 0.26 - INSIDE_MM <= value <= min(sampled, 50.0) + INSIDE_MM


def test_deeper_goes_the_least_deeper_and_back_out_it_stays() -> None:
    anatomy = make_anatomy()
    approach = ClosestApproach(AnatomyQueries(anatomy), RADIUS)
    plan = make_plan(anatomy).insertions[0]
    entry, tip = np.asarray(plan.entry_mm), np.asarray(plan.tip_mm)
    before = np.inf
    for depth in (0.3, 0.5, 0.7, 0.9, 1.0):
        approach.add(line(entry, entry + depth * (tip - entry)))
        assert approach.least_mm["liver"] < before
        before = approach.least_mm["liver"]
    found = approach.least_mm
    for depth in (0.8, 0.4, 0.1):
        assert approach.add(line(entry, entry + depth * (tip - entry))) == ()
    assert approach.least_mm == found
    assert approach.punctured == ("liver", "tumour")
    assert approach.add(line(entry, tip)) == ()


def test_structures_are_entered_in_the_order_along_the_needle() -> None:
    tubes = {
        name: (Role.VESSEL, cylinder(3.0, (-30, y, 5), (30, y + 8, 8)))
        for name, y in (("third", 60.0), ("first", 20.0), ("second", 40.0), ("never", 90.0))
    }
    everything = queries_of(round=(Role.ORGAN, ellipsoid((0, 60, 5), (50, 55, 50))), **tubes)
    at_once = ClosestApproach(everything, RADIUS)
    assert at_once.add(line((2, -20, 4), (-1, 75, 7), 30)) == ("round", "first", "second", "third")
    stepwise = ClosestApproach(everything, RADIUS)
    found = [
        stepwise.add(line((2, -20, 4), (2 - 0.03 * d, -20 + d, 4 + 0.03 * d))) for d in (10, 30, 32, 50, 70, 95)
    ]
    assert found == [(), ("round",), (), ("first",), ("second",), ("third",)]
    assert stepwise.punctured == at_once.punctured


def test_a_thin_vessel_is_not_leapt_over() -> None:
    vessel = queries_of(vein=(Role.VESSEL, cylinder(0.4, (-30, 20, 0), (30, 25, 3))))
    approach = ClosestApproach(vessel, RADIUS)
    assert approach.add(line((0, 0, 1.5), (0, 15, 1.5))) == ()
    assert approach.add(line((0, 0, 1.5), (0, 40, 1.5))) == ("vein",)
    assert approach.least_mm["vein"] == pytest.approx(-0.4 - RADIUS, abs=0.41)


def test_between_two_sides_of_the_chest_wall_there_is_no_needle() -> None:
    """At rest the part within the wall lies 15 mm aside, and a rib lies in the gap."""
    rib = queries_of(
        rib=(Role.BONE, ellipsoid((0, 22.5, 7.5), (30, 2, 2), 48)),
        liver=(Role.ORGAN, ellipsoid((0, 60, 15), (40, 38, 40), 48)),
    )
    outer, inner = line((0, 0, 0), (0, 20, 0), 5), line((0, 25, 15), (0, 50, 15), 5)
    points, within = np.concatenate([outer, inner]), np.repeat([False, True], 5)
    jumping, apart = ClosestApproach(rib, RADIUS), ClosestApproach(rib, RADIUS)
    assert jumping.add(points) == ("rib", "liver")
    # The inner part begins within the liver, which it thereby has entered.
    assert apart.add(points, within) == ("liver",)
    assert apart.least_mm["rib"] == pytest.approx(np.hypot(2.5, 7.5) - 2.0 - RADIUS, abs=0.01)
    single = ClosestApproach(rib, RADIUS)
    assert single.add(np.concatenate([outer, inner[-1:]]), np.repeat([False, True], [5, 1])) == ("liver",)


def test_faces_that_look_inward_change_nothing() -> None:
    mesh = ellipsoid((3, 30, -4), (12, 17, 25), 24)
    found = []
    for one in (mesh, mesh.flipped()):
        approach = ClosestApproach(queries_of(organ=(Role.ORGAN, one)), RADIUS)
        approach.add(line((0, -10, 0), (5, 25, -3), 14))
        found.append((approach.least_mm["organ"], approach.punctured))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-9) and found[0][0] < -5.0
    assert found[0][1] == found[1][1] == ("organ",)


def test_far_structures_stand_as_the_cap_and_skin_and_regions_are_left_out() -> None:
    region = ellipsoid((0, 20, 0), (10, 10, 10))
    made = queries_of(
        far=(Role.BOWEL, ellipsoid((0, 20, 90), (10, 10, 10), 48)), region=(Role.NO_GO, region),
        allowed=(Role.ALLOWED, region), entry=(Role.ENTRY_REGION, region),
    )  # fmt: skip
    approach = ClosestApproach(made, RADIUS)
    assert approach.least_mm == {"tumour": 50.0, "far": 50.0}
    assert approach.add(line((0, 0, 0), (0, 40, 0))) == ()
    assert approach.least_mm == {"tumour": 50.0, "far": 50.0}
    wider = ClosestApproach(made, RADIUS, cap_mm=100.0)
    wider.add(line((0, 0, 0), (0, 40, 0)))
    assert wider.least_mm == {"tumour": 100.0, "far": pytest.approx(80.0 - RADIUS, abs=0.02)}


def test_a_breath_that_repeats_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    anatomy = make_anatomy()
    approach = ClosestApproach(AnatomyQueries(anatomy), RADIUS)
    breath = breathing_shafts(anatomy, 2, 200)[-40:]
    for points, within in breath:
        approach.add(points, within)

    def never(*_args: object, **_keywords: object) -> object:
        raise AssertionError("measured again")

    monkeypatch.setattr(sim.closest_approach, "_measured", never)
    for points, within in breath:
        assert approach.add(points, within) == ()


def test_impossible_input_is_refused() -> None:
    queries = queries_of()
    for radius, cap in ((-1.0, 50.0), (np.nan, 50.0), (1.0, 0.0), (1.0, np.inf)):
        with pytest.raises(OptionError, match="radius"):
            ClosestApproach(queries, radius, cap)
    approach = ClosestApproach(queries, RADIUS)
    assert approach.add(np.zeros((0, 3))) == ()
    for points in (np.zeros(3), np.zeros((4, 2)), np.full((4, 3), np.nan)):
        with pytest.raises(GeometryError, match="shaft"):
            approach.add(points)
    with pytest.raises(GeometryError, match="within_wall"):
        approach.add(np.zeros((4, 3)), [True])


def test_one_point_is_a_needle_too() -> None:
    ball = queries_of(ball=(Role.ORGAN, ellipsoid((0, 0, 0), (20, 20, 20), 64)))
    approach = ClosestApproach(ball, RADIUS)
    assert approach.add([[0.0, 24.0, 7.0]]) == () and approach.add([[0.0, 2.0, 1.0]]) == ("ball",)
    assert approach.least_mm["ball"] == pytest.approx(-20 + np.hypot(2, 1) - RADIUS, abs=0.05)


def _distance_to(points: Sequence[FloatArray]) -> Callable[[Shaft], FloatArray]:
    """Distances of each piece of a shaft from some points, taken from many places along it."""
    share = np.linspace(0, 1, 41)[:, None, None]

    def distances(shaft: Shaft) -> FloatArray:
        places = shaft.start + share * (shaft.end - shaft.start)
        return np.array([np.linalg.norm(places - point, axis=2).min(axis=0) for point in points])

    return distances


@pytest.mark.parametrize("seed", range(6))
def test_what_is_sure_is_never_too_much_and_grows_with_what_is_known(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distances = _distance_to(rng.normal(0, 40, (5, 3)))

    def shaft() -> Shaft:
        count = int(rng.integers(1, 12))
        points = np.cumsum(rng.normal(0, [2, 6, 1], (count, 3)), axis=0) + rng.normal(0, 3, 3)
        cut = rng.integers(1, count) if count > 1 and rng.random() < 0.5 else None
        return Shaft.of(points, NO_BREAK if cut is None else np.array([cut]))

    sure = SureDistances(5)
    assert (sure.at_least(shaft()) == -np.inf).all()
    for _ in range(2 * MOMENTS):
        now = shaft()
        true = distances(now)
        assert (sure.at_least(now) <= true.min(axis=1) + 1e-9).all()
        # Little less than what is true may be remembered; of some structures nothing.
        sure.remember(now, {k: true[k] - 0.01 for k in range(5) if rng.random() < 0.6})
    last = shaft()
    sure.remember(last, dict(enumerate(distances(last))))
    assert sure.at_least(last) == pytest.approx(distances(last).min(axis=1), abs=1e-12)


def test_a_needle_that_goes_on_is_as_far_as_its_new_part_may_have_come() -> None:
    sure = SureDistances(2)
    sure.remember(Shaft.of(line((0, 0, 0), (0, 30, 0), 4), NO_BREAK), {0: np.array([3.0, 20.0, 20.0])})
    # The near structure lies at the start, which has not moved: that says the same as before.
    longer = Shaft.of(line((0, 0, 0), (0, 35, 0), 8), NO_BREAK)
    assert sure.at_least(longer).tolist() == [3.0, -np.inf]
    # Swung aside, its first piece ends where another begins of which more is known.
    aside = Shaft.of(line((0, 0, 0), (4, 30, 0), 4), NO_BREAK)
    swung = 10.0 * unit_vector([4.0, 30.0, 0.0]) - [0.0, 10.0, 0.0]
    assert sure.at_least(aside)[0] == pytest.approx(3.0 - np.linalg.norm(swung), abs=1e-12)


def test_a_corner_that_bulged_counts_for_both_pieces_that_meet_there() -> None:
    sure = SureDistances(1)
    bulged = np.array([[0.0, 0, 0], [2, 10, 0], [0, 20, 0]])
    sure.remember(Shaft.of(bulged, NO_BREAK), {0: np.array([50.0, 3.0])})
    straight = Shaft.of(line((0, 0, 0), (0, 20.4, 0), 2), NO_BREAK)
    assert sure.at_least(straight)[0] == pytest.approx(3.0 - np.hypot(2.0, np.hypot(2, 10) - 10), abs=1e-12)


def test_of_a_needle_in_another_number_of_runs_nothing_is_sure() -> None:
    """A part that was not there before has nothing to be compared with."""
    sure = SureDistances(1)
    whole, far = line((0, 0, 0), (0, 20, 0), 3), line((0, 90, 0), (0, 120, 0), 3)
    sure.remember(Shaft.of(whole, NO_BREAK), {0: np.array([50.0, 50.0])})
    assert sure.at_least(Shaft.of(np.concatenate([whole, far]), np.array([3])))[0] == -np.inf
    sure.remember(Shaft.of(np.concatenate([whole, far]), np.array([3])), {0: np.array([50.0, 50.0, 7.0, 7.0])})
    assert sure.at_least(Shaft.of(whole, NO_BREAK)).tolist() == [50.0]
