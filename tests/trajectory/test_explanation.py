"""Why paths are rejected, what would open one, and what decided: against brute force and known geometry."""

import dataclasses
import itertools

import numpy as np
import pytest
from made_cases import ball, box, joined, made_case, queries_of
from made_path_tables import made_queries

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.case.model import Role, Structure
from needleplan.errors import CaseError, GeometryError, OptionError
from needleplan.trajectory.comparison import compare_with_runners_up
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.explanation import explain_rejections
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.pareto import pareto_front
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.rejection import explain_paths, point_along
from needleplan.trajectory.relaxation import conflicting_constraints, smallest_relaxations
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen
from needleplan.trajectory.shortfall import outward_limit
from needleplan.trajectory.skin_map import map_skin
from needleplan.trajectory.table import ConstraintColumn, ObjectiveColumn, TrajectoryTable

APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")
RADIUS = APPLICATOR.radius_mm
COARSE = SamplingOptions(entry_spacing_mm=14.0, aim_count=8)


class Looked(TrajectoryConstraint):
    """A constraint whose values are looked up by the row number that stands in a path's tip."""

    def __init__(self, name, values, limit, at_least=True, lowest=-np.inf, highest=np.inf, hard=True):
        self.values, self.limit, self.at_least, self.hard = values, limit, at_least, hard
        self.lowest, self.highest, self._name = lowest, highest, name

    @property
    def name(self):
        return self._name

    def evaluate(self, paths):
        rows = np.round(paths.table.tip_mm[:, 0]).astype(int)
        return ConstraintColumn(
            self.name, "mm", self.values[rows], self.limit, self.at_least, f"{self.name} kept", self.hard
        )

    def with_limit(self, limit):
        if not self.lowest <= limit <= self.highest:
            return None
        return Looked(self.name, self.values, limit, self.at_least, self.lowest, self.highest, self.hard)

    def located_mm(self, paths):
        return 0.25 * paths.table.length_mm


def looked_table(n=240, entries=20):
    """Paths from few entries, whose tips carry their row numbers."""
    number = np.arange(n)
    entry = np.stack([np.zeros(n), 40.0 * (number % entries), np.full(n, -50.0)], axis=1)
    tip = np.stack([number, np.zeros(n), np.zeros(n)], axis=1).astype(float)
    return TrajectoryTable(APPLICATOR, entry, np.tile([0.0, 0, -1], (n, 1)), tip, tip)


def random_constraints(seed, n=240, least=1):
    """Four constraints of both senses; every row fails ``least`` of them or more, some beyond every limit."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.uniform(-1.0, 6.0, (4, n)), 3)
    for row in range(n):
        failing = rng.permutation(4)[: rng.integers(least, 5)]
        passing = np.setdiff1d(np.arange(4), failing)
        values[failing, row] = np.round(rng.uniform(-1.0, 1.999, len(failing)), 3)
        values[passing, row] = np.round(rng.uniform(2.0, 6.0, len(passing)), 3)
    return (
        Looked("clearance to a", values[0], 2.0, lowest=0.0),
        Looked("clearance to b", values[1], 2.0, lowest=0.0),
        Looked("angle", 40.0 - 5 * values[2], 30.0, at_least=False, highest=44.0),
        Looked("length", 100.0 - values[3], 98.0, at_least=False),
    )


def relaxed(constraints, changes):
    """The constraints with the limits that a dictionary names."""
    return [c.with_limit(changes[c.name]) if c.name in changes else c for c in constraints]


@pytest.mark.parametrize(("seed", "least"), [(0, 1), (1, 2), (2, 3), (3, 1), (4, 2)])
def test_smallest_relaxations_are_those_of_brute_force(seed, least):
    queries, constraints = made_queries(), random_constraints(seed, least=least)
    table = screen(looked_table(), queries, constraints)
    assert not table.feasible.any()
    found = smallest_relaxations(table, queries, constraints).found
    assert found
    fails = np.stack([~c.passed for c in table.constraints])
    limit = np.stack([outward_limit(c, c.values) for c in table.constraints])
    amount = np.abs(limit - np.array([c.limit for c in table.constraints])[:, None]) * fails
    share = amount / np.array([[max(abs(c.limit), 1.0)] for c in table.constraints])
    can = np.array([
        all(not fails[k, row] or constraints[k].with_limit(limit[k, row]) is not None for k in range(4))
        for row in range(len(table))
    ])  # fmt: skip
    assert can.any() and not can.all()
    sizes = fails.sum(axis=0)
    # Smallest sets first: whatever can be opened with one limit is, else with two, else with the fewest.
    assert len(found[0].changes) == sizes[can].min()
    for relaxation in found:
        names = {change.constraint for change in relaxation.changes}
        mine = [k for k in range(4) if constraints[k].name in names]
        same = can & (fails[mine].all(axis=0)) & (sizes == len(mine))
        if len(mine) == 2:
            # Only what asks less of both than each alone competes.
            for k in mine:
                alone = can & fails[k] & (sizes == 1)
                same &= amount[k] < amount[k, alone].min(initial=np.inf)
        assert relaxation.share == pytest.approx(share[:, same].sum(axis=0).min())
        changes = {change.constraint: change.new_limit for change in relaxation.changes}
        opened = screen(looked_table(), queries, relaxed(constraints, changes)).feasible
        assert opened[relaxation.row] and opened.sum() == relaxation.opened
        for change in relaxation.changes:
            step = 0.01 if change.new_limit < change.limit else -0.01
            tighter = changes | {change.constraint: round(change.new_limit + step, 2)}
            assert not screen(looked_table(), queries, relaxed(constraints, tighter)).feasible.any()
    if least == 1:
        singles = {r.changes[0].constraint for r in found if len(r.changes) == 1}
        assert singles == {constraints[k].name for k in range(4) if (can & (sizes == 1) & fails[k]).any()}


def test_a_pair_is_offered_where_it_asks_less_of_both_than_each_alone():
    values = np.array([[0.5, 1.9, 2.5, 1.0], [2.5, 1.8, 0.4, 1.7]])
    pair = (Looked("clearance to a", values[0], 2.0), Looked("clearance to b", values[1], 2.0))
    table = screen(looked_table(4), made_queries(), pair)
    found = smallest_relaxations(table, made_queries(), pair).found
    changes = [{c.constraint: round(c.amount, 6) for c in r.changes} for r in found]
    assert changes == [
        {"clearance to a": 1.5},
        {"clearance to b": 1.6},
        {"clearance to a": 0.1, "clearance to b": 0.2},
    ]
    assert "a hundredth less opens none" in found[0].sentence
    # Without the pair that is better for both, none is offered.
    values[:, [1, 3]] = [[0.4, 0.4], [1.8, 1.7]]
    table = screen(looked_table(4), made_queries(), pair)
    found = smallest_relaxations(table, made_queries(), pair).found
    assert [len(r.changes) for r in found] == [1, 1]


def test_a_pair_is_offered_though_another_of_its_candidates_has_the_smaller_sum():
    # The third row's sum is smaller than the fourth's, but it asks more of b than b alone does.
    values = np.array([[14.0, 10, 10.1, 13], [10, 14, 15, 13]])
    pair = tuple(Looked(name, v, 10.0, at_least=False) for name, v in zip("ab", values, strict=True))
    table = screen(looked_table(4), made_queries(), pair)
    found = smallest_relaxations(table, made_queries(), pair).found
    changes = [{c.constraint: round(c.amount, 6) for c in r.changes} for r in found]
    assert changes == [{"a": 4.0}, {"b": 4.0}, {"a": 3.0, "b": 3.0}]
    assert found[2].row == 3 and found[2].opened == 1


def constraints_with_ties(seed):
    """Four constraints of one kind whose values repeat so often that much is tied."""
    values = np.random.default_rng(seed).choice([-1.0, 1.0, 1.7, 2.5], (4, 240), p=[0.25, 0.25, 0.3, 0.2])
    values[0, (values >= 2).all(axis=0)] = 1.0
    return tuple(Looked(f"clearance to {n}", v, 2.0, lowest=0.0) for n, v in zip("dbac", values, strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_the_constraints_changes_nothing(seed):
    queries, answers = made_queries(), []
    constraints = constraints_with_ties(seed)
    for order in itertools.permutations(constraints):
        table = screen(looked_table(), queries, order)
        table = dataclasses.replace(table, cost=np.full(240, np.inf))
        skin = map_skin(table, order)
        place = [skin.constraints.index(c.name) for c in constraints]
        answers.append(
            (
                [skin.constraints[k] for k in skin.blocked_by],
                skin.opening[:, place].tolist(),
                list(skin.blocked_counts().items()),
                [skin.sentence(m) for m in range(len(skin))],
                conflicting_constraints(table),
                smallest_relaxations(table, queries, order),
                explain_paths(table, queries, order, range(240)),
                explain_rejections(table, queries, order),
            )
        )
    for part in zip(*answers, strict=True):
        assert all(other == part[0] for other in part)


def test_limits_are_rounded_outward_to_hundredths():
    least = ConstraintColumn("a", "mm", np.array([1.234, 1.23, 1.2300000001, 0.0, -0.001]), 2.0, True, "a")
    most = ConstraintColumn("b", "mm", least.values, 1.0, False, "b")
    np.testing.assert_allclose(outward_limit(least, least.values), [1.23, 1.23, 1.23, 0.0, -0.01], atol=1e-12)
    np.testing.assert_allclose(outward_limit(most, most.values)[:3], [1.24, 1.23, 1.24], atol=1e-12)
    values = np.random.default_rng(5).uniform(-60, 200, 20_000)
    values = np.concatenate([values, np.round(values, 2), np.nextafter(np.round(values, 2), 1000)])
    assert (values >= outward_limit(least, values)).all() and (values <= outward_limit(most, values)).all()
    assert np.abs(values - outward_limit(least, values)).max() <= 0.01 + 1e-9


def test_a_constraint_that_contradicts_itself_is_found_out():
    class Fickle(Looked):
        def with_limit(self, limit):
            return Looked(self.name, self.values - 5.0, limit)

    fickle = (Fickle("clearance to a", np.ones(4), 2.0),)
    table = screen(looked_table(4), made_queries(), fickle)
    with pytest.raises(GeometryError, match="the same whatever its limit"):
        smallest_relaxations(table, made_queries(), fickle)

    class Generous(Looked):
        def with_limit(self, limit):
            return Looked(self.name, np.full(4, 2.0), limit)

    generous = (Generous("clearance to a", np.ones(4), 2.0),)
    with pytest.raises(GeometryError, match="more than its limit"):
        smallest_relaxations(screen(looked_table(4), made_queries(), generous), made_queries(), generous)
    with pytest.raises(OptionError, match="not among the constraints handed over"):
        smallest_relaxations(table, made_queries(), (Looked("other", np.ones(4), 2.0),))


def test_soft_constraints_are_not_to_be_relaxed():
    hard = Looked("clearance to a", np.array([1.5, 0.5]), 2.0)
    soft = Looked("clearance to b", np.array([-9.0, 9.0]), 2.0, hard=False)
    table = screen(looked_table(2), made_queries(), (soft, hard))
    (found,) = smallest_relaxations(table, made_queries(), (soft, hard)).found
    assert found.row == 0 and [c.constraint for c in found.changes] == ["clearance to a"]


def shell(thickness=2.0, hole=0.0):
    """A cube of bone about the target; with a square hole of that half-edge in front, at x = 5, z = 7."""
    a, b = 40.0, 40.0 - thickness
    walls = [
        box((-a, b, -a), (a, a, a)),
        box((-a, -b, -a), (-b, b, a)), box((b, -b, -a), (a, b, a)),
        box((-b, -b, -a), (b, b, -b)), box((-b, -b, b), (b, b, a)),
    ]  # fmt: skip
    front = [(-a, 5 - hole, -a, a), (5 + hole, a, -a, a), (5 - hole, 5 + hole, -a, 7 - hole),
             (5 - hole, 5 + hole, 7 + hole, a)]  # fmt: skip
    if hole:
        walls += [box((x0, -a, z0), (x1, -b, z1)) for x0, x1, z0, z1 in front]
    else:
        walls.append(box((-a, -a, -a), (a, -b, a)))
    return joined(*walls)


def enclosed(hole=0.0, **options):
    case = made_case(
        ball((0, 0, 0), 12),
        box((-70, -70, -70), (70, 70, 70)),
        Structure("bone", Role.BONE, shell(hole=hole)),
        **options,
    )
    return queries_of(case)


def screened(queries, limits=None, options=COARSE):
    constraints = default_constraints(queries, limits)
    table = screen(sample_trajectories(queries, APPLICATOR, options), queries, constraints)
    return rank(table, queries, default_objectives(queries)), constraints


def test_a_closed_shell_is_never_offered_as_a_number_of_millimetres():
    queries = enclosed()
    table, constraints = screened(queries)
    found = smallest_relaxations(table, queries, constraints)
    assert not found.found
    (barrier,) = [b for b in found.barriers if b.constraint == "clearance to bone"]
    assert barrier.candidates == len(table) and barrier.only > 0
    assert barrier.sentence == "bone would have to be touched or crossed"
    evidence = explain_rejections(table, queries, constraints)
    assert evidence[0].subject == "clearance to bone"
    assert f"All {len(table)} candidate paths fail it" in evidence[0].finding
    assert any("No change of limits opens any" in e.finding for e in evidence)
    assert not any("Relaxing" in e.finding for e in evidence)
    skin = map_skin(table, constraints)
    assert not skin.open.any() and not skin.openable.any()
    assert skin.blocked_counts() == {"clearance to bone": len(skin)}


def test_a_hole_too_narrow_by_a_little_is_found_and_by_how_much():
    hole = 2.0 + RADIUS - 0.4
    queries = enclosed(hole=hole)
    table, constraints = screened(queries, options=SamplingOptions(4.0, 60))
    assert not table.feasible.any()
    found = smallest_relaxations(table, queries, constraints).found
    (single,) = [r for r in found if len(r.changes) == 1]
    (change,) = single.changes
    assert change.constraint == "clearance to bone"
    # A needle through the middle of the hole keeps 0.4 mm too little; one beside the middle less.
    assert 0.4 - 1e-6 <= change.amount < 1.6
    share = (-39.0 - table.entry_mm[single.row, 1]) / (table.tip_mm - table.entry_mm)[single.row, 1]
    middle = table.entry_mm[single.row] + share * (table.tip_mm - table.entry_mm)[single.row]
    assert np.abs(middle[[0, 2]] - (5, 7)).max() < hole
    # Proven once more by way of the limits themselves.
    bare = sample_trajectories(queries, APPLICATOR, SamplingOptions(4.0, 60))
    for bone_mm, opens in ((change.new_limit, True), (round(change.new_limit + 0.01, 2), False)):
        again = screen(bare, queries, default_constraints(queries, PathLimits(bone_mm=bone_mm)))
        assert again.feasible.any() == opens
    evidence = explain_rejections(table, queries, constraints, MeasuredPaths(table, queries))
    assert any(f"by {change.amount:.2f} mm, from 2.00 to {change.new_limit:.2f} mm" in e.finding for e in evidence)


def test_rejected_path_is_explained_by_amount_and_place():
    queries, constraints = made_queries(), random_constraints(7)
    table = screen(looked_table(), queries, constraints)
    rows = [3, 77, 150]
    for row, explained in zip(rows, explain_paths(table, queries, constraints, rows), strict=True):
        failing = [c for c in table.constraints if not c.passed[row]]
        assert {f.constraint for f in explained.failures} == {c.name for c in failing}
        for failure in explained.failures:
            column = table.constraint(failure.constraint)
            assert failure.shortfall == pytest.approx(column.shortfall[row]) and failure.value == column.values[row]
            assert failure.located_mm == pytest.approx(0.25 * table.length_mm[row])
            quarter = table.entry_mm[row] + 0.25 * (table.tip_mm[row] - table.entry_mm[row])
            np.testing.assert_allclose(failure.point_mm, quarter, atol=1e-9)
            assert failure.constraint in failure.sentence
        assert len(explained.sentences) == 1 + len(failing)
    with pytest.raises(OptionError, match="not 240"):
        explain_paths(table, queries, constraints, [240])


def test_real_path_through_bone_is_said_to_cross_it_and_a_free_one_to_be_free():
    queries = enclosed(hole=9.0)
    table, constraints = screened(queries, options=SamplingOptions(6.0, 20))
    free, barred = int(np.argmax(table.feasible)), int(np.argmin(table.constraint("clearance to bone").values))
    good, bad = explain_paths(table, queries, constraints, [free, barred])
    assert not good.failures and "satisfies every hard constraint" in good.sentences[0]
    failure = next(f for f in bad.failures if f.constraint == "clearance to bone")
    assert failure.barred and "touches or crosses" in failure.sentence


@pytest.mark.parametrize("curved", [False, True])
def test_a_place_on_the_shaft_outside_is_found_and_said(curved):
    class Outside(Looked):
        def located_mm(self, paths):
            return np.where(self.values < 1, np.nan, -60.0)

    table = looked_table(4)
    if curved:
        across = np.cross(table.direction, (0.0, 1.0, 0.0))
        table = dataclasses.replace(
            table, curvature_per_mm=across / np.linalg.norm(across, axis=1)[:, None] / 150.0
        )
    constraints = (Outside("clearance to drape", np.array([1.0, 1.5, 0.5, 3.0]), 2.0),)
    table = screen(table, made_queries(), constraints)
    for row, explained in enumerate(explain_paths(table, made_queries(), constraints, range(3))):
        (failure,) = explained.failures
        if row == 2:
            assert (
                failure.located_mm is None and failure.point_mm is None and "from the entry" not in failure.sentence
            )
            continue
        assert failure.sentence.endswith("on the shaft outside, 60 mm from the entry.")
        back = np.array(failure.point_mm) - table.entry_mm[row]
        np.testing.assert_allclose(back, -60.0 * table.entry_direction[row], atol=1e-9)
        if curved:
            assert np.linalg.norm(back + 60.0 * table.direction[row]) > 5


class Counted(Looked):
    """A constraint on a number without unit."""

    def evaluate(self, paths):
        return dataclasses.replace(super().evaluate(paths), unit="")

    def with_limit(self, limit):
        if not self.lowest <= limit <= self.highest:
            return None
        return Counted(self.name, self.values, limit, self.at_least, self.lowest, self.highest)


def test_counts_are_told_as_counts_and_yes_or_no_as_such():
    constraints = (
        Counted("passages into liver", np.array([3.0, 4]), 1.0, at_least=False, highest=20),
        Counted("robot reach", np.array([0.0, 1]), 1.0, lowest=1),
    )
    table = screen(looked_table(2), made_queries(), constraints)
    by_name = {f.constraint: f.sentence for f in explain_paths(table, made_queries(), constraints, [0])[0].failures}
    assert "counted 3, 2 too many" in by_name["passages into liver"]
    assert "it is not so" in by_name["robot reach"]
    evidence = explain_rejections(table, made_queries(), constraints)
    assert "the best reaches 3." in evidence[0].finding and evidence[0].subject == "passages into liver"
    (found,) = smallest_relaxations(table, made_queries(), constraints).found
    assert "'passages into liver' by 3, from 1 to 4 opens 1 candidate path" in found.sentence


def test_points_along_arcs_lie_on_them():
    entry, tip = np.array([[0.0, 0, 0]]), np.array([[60.0, 0, 80]])
    curvature = np.array([[0.0, 1 / 200, 0]])
    table = TrajectoryTable(APPLICATOR, entry, entry, tip, tip, curvature)
    chord = 100.0
    centre = 0.5 * (entry + tip)[0] + np.array([0, np.sqrt(200**2 - (chord / 2) ** 2), 0])
    for distance in (0.0, 20.0, float(table.length_mm[0]) / 2, float(table.length_mm[0]), 900.0):
        assert np.linalg.norm(point_along(table, 0, distance) - centre) == pytest.approx(200.0)
    np.testing.assert_allclose(point_along(table, 0, 900.0), tip[0], atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_skin_map_is_that_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    constraints = random_constraints(seed, least=1)
    table = screen(looked_table(), made_queries(), constraints)
    # Half of the entries get a few paths that fail nothing.
    opened = rng.permutation(240)[:14]
    for c, good in zip(constraints, (3.0, 3.0, 20.0, 90.0), strict=True):
        c.values[opened] = good
    table = screen(looked_table(), made_queries(), constraints)
    cost = np.where(table.feasible, rng.uniform(0.2, 2.0, 240), np.inf)
    table = dataclasses.replace(table, cost=cost)
    skin = map_skin(table, constraints)
    assert len(skin) == 20 and skin.candidates.sum() == 240
    limit = [np.asarray(outward_limit(c, c.values)) for c in table.constraints]

    def share(k, row):
        column = table.constraints[k]
        if column.passed[row]:
            return 0.0
        if constraints[k].with_limit(float(limit[k][row])) is None:
            return np.inf
        return abs(limit[k][row] - column.limit) / max(abs(column.limit), 1.0)

    for m in range(20):
        rows = [r for r in range(240) if (table.entry_mm[r] == skin.entry_mm[m]).all()]
        free = [r for r in rows if table.feasible[r]]
        assert skin.candidates[m] == len(rows) and skin.feasible[m] == len(free)
        assert skin.sentence(m)
        if free:
            assert skin.best_row[m] == min(free, key=lambda r: cost[r]) and skin.blocked_by[m] == -1
            assert skin.best_cost[m] == min(cost[r] for r in free) and not skin.opening[m].any()
            continue
        assert skin.best_row[m] == -1
        totals = {r: sum(share(k, r) for k in range(4)) for r in rows}
        nearest = min(rows, key=lambda r: totals[r])
        assert skin.openable[m] == np.isfinite(totals[nearest])
        if np.isfinite(totals[nearest]):
            np.testing.assert_allclose(
                skin.opening[m],
                [
                    abs(limit[k][nearest] - c.limit) * (not c.passed[nearest])
                    for k, c in enumerate(table.constraints)
                ],
            )
        everywhere = [k for k in range(4) if not any(table.constraints[k].passed[r] for r in rows)]
        by_name = sorted(range(4), key=lambda k: constraints[k].name)
        if everywhere:
            gravest = max(
                (k for k in by_name if k in everywhere), key=lambda k: round(min(share(k, r) for r in rows), 9)
            )
            assert skin.blocked_by[m] == gravest
        elif np.isfinite(totals[nearest]):
            assert skin.blocked_by[m] == max(by_name, key=lambda k: round(share(k, nearest), 9))
    assert skin.open.any() and not skin.open.all()


def test_single_refined_paths_are_counted_with_the_patch_they_refine():
    entry = np.array([[0.0, 0, 0], [0, 0, 0], [50, 0, 0], [50, 0, 0], [4, 0, 0], [46, 1, 0]])
    entry = np.concatenate([entry[:2], entry[:2], entry[2:4], entry[2:4], entry[4:]])
    tip = np.stack([np.arange(10.0), np.zeros(10), np.full(10, 50.0)], axis=1)
    constraint = Looked("clearance to a", np.array([1, 1, 1, 1, 1, 1, 1, 1.5, 3, 1.9]), 2.0)
    table = TrajectoryTable(APPLICATOR, entry, entry, tip, tip)
    table = screen(table, made_queries(), (constraint,))
    table = dataclasses.replace(table, cost=np.where(table.feasible, 0.7, np.inf))
    skin = map_skin(table, (constraint,))
    np.testing.assert_array_equal(skin.entry_mm[:, 0], [0, 50])
    assert skin.candidates.tolist() == [5, 5] and skin.feasible.tolist() == [1, 0]
    assert skin.best_row[0] == 8 and skin.opening[1] == pytest.approx([0.1])


def test_skin_map_of_an_unranked_table_is_refused():
    constraints = random_constraints(0)
    with pytest.raises(GeometryError, match="rank"):
        map_skin(screen(looked_table(), made_queries(), constraints), constraints)


def test_skin_map_opens_exactly_above_the_hole():
    queries = enclosed(hole=9.0)
    table, constraints = screened(queries, options=SamplingOptions(7.0, 20))
    skin = map_skin(table, constraints)
    assert (skin.entry_mm[skin.open][:, 1] < -60).all() and skin.open.sum() >= 4
    behind = skin.entry_mm[:, 1] > 60
    names = {skin.constraints[k] for k in skin.blocked_by[behind]}
    assert names == {"clearance to bone"}
    costs = [table.cost[(table.entry_mm == e).all(axis=1)].min() for e in skin.entry_mm[skin.open]]
    np.testing.assert_array_equal(skin.best_cost[skin.open], costs)


def test_comparison_adds_up_and_names_what_decided():
    queries = enclosed(hole=12.0)
    table, _ = screened(queries, options=SamplingOptions(5.0, 20))
    comparison = compare_with_runners_up(table, count=4)
    assert comparison.row == table.order()[0]
    assert len(comparison.runners_up) >= 2
    entries = np.array([comparison.entry_mm, *(r.entry_mm for r in comparison.runners_up)])
    apart = np.linalg.norm(entries[:, None] - entries[None], axis=2)
    assert apart[~np.eye(len(entries), dtype=bool)].min() >= 10.0
    costs = [r.cost for r in comparison.runners_up]
    assert costs == sorted(costs)
    for other in comparison.runners_up:
        assert sum(d.advantage for d in other.differences) == pytest.approx(other.advantage, abs=1e-12)
        assert other.advantage >= -1e-9
        assert [d.advantage for d in other.differences] == sorted(
            (d.advantage for d in other.differences), reverse=True
        )
        # Whatever is skipped lies near the chosen path or a better runner-up.
        better = [r for r in table.order() if table.cost[r] < other.cost - 1e-9]
        known = entries[: 1 + comparison.runners_up.index(other)]
        assert all(np.linalg.norm(known - table.entry_mm[r], axis=1).min() < 10.0 for r in better)
    assert len(comparison.sentences) == 1 + len(comparison.runners_up)
    last = int(table.order()[-1])
    worse = compare_with_runners_up(table, row=last)
    assert worse.runners_up[0].advantage < 0 and "not chosen by cost alone" in worse.runners_up[0].sentence


def made_ranked(costs, entries):
    costs = np.asarray(costs, float)
    n = len(costs)
    entry = np.stack([np.asarray(entries, float), np.zeros(n), np.zeros(n)], axis=1)
    tip = entry + np.array([0, 0, 50.0])
    columns = tuple(ObjectiveColumn(f"o{k}", "mm", costs[:, k], costs[:, k], w) for k, w in enumerate((1.0, 0.5)))
    return TrajectoryTable(
        APPLICATOR, entry, entry, tip, tip, objectives=columns, cost=costs @ (1.0, 0.5), front=pareto_front(costs)
    )


def test_dominance_and_ties_are_told_apart():
    table = made_ranked([[1, 1], [2, 2], [0.5, 2.2], [1, 1]], [0, 40, 80, 120])
    comparison = compare_with_runners_up(table)
    by_row = {r.row: r for r in comparison.runners_up}
    assert comparison.row == 0
    assert by_row[1].dominated and not by_row[1].on_front and "every objective" in by_row[1].sentence
    assert not by_row[2].dominated and by_row[2].on_front and "other weights" in by_row[2].sentence
    assert not by_row[3].dominated and "costs as much" in by_row[3].sentence
    assert [d.objective for d in by_row[2].differences] == ["o1", "o0"]
    near = compare_with_runners_up(made_ranked([[1, 1], [2, 2]], [0, 5]))
    assert not near.runners_up and "no other choice" in near.sentences[0]
    with pytest.raises(OptionError):
        compare_with_runners_up(table, count=0)
    with pytest.raises(OptionError):
        compare_with_runners_up(table, row=9)


def test_contradictory_constraints_are_named():
    a, b, c = np.array([3.0, 1, 3, 1]), np.array([1.0, 3, 3, 1]), np.array([3.0, 3, 1, 3])
    three = tuple(Looked(name, v, 2.0) for name, v in zip("abc", (a, b, c), strict=True))
    table = screen(looked_table(4), made_queries(), three)
    assert conflicting_constraints(table) == ("a", "b", "c")
    pair = (Looked("a", np.array([3.0, 1, 1, 1]), 2.0), three[1], Looked("d", np.full(4, 9.0), 2.0))
    table = screen(looked_table(4), made_queries(), pair)
    assert conflicting_constraints(table) == ("a", "b")
    evidence = explain_rejections(table, made_queries(), pair)
    contradiction = next(e for e in evidence if e.subject == "contradiction")
    assert "a and b together" in contradiction.finding
    open_table = screen(looked_table(4), made_queries(), (Looked("d", np.full(4, 9.0), 2.0),))
    assert conflicting_constraints(open_table) == ()
    single = screen(looked_table(4), made_queries(), (Looked("d", np.zeros(4), 2.0), *three))
    assert conflicting_constraints(single) == ("d",)


def simple(*others, target=None, skin=None):
    return queries_of(made_case(target or ball((0, 0, 0), 10), skin or ball((0, 0, 0), 80, 4), *others))


def evidence_of(queries, limits=None, applicator=APPLICATOR):
    constraints = default_constraints(queries, limits)
    table = screen(sample_trajectories(queries, applicator, COARSE), queries, constraints)
    assert not table.feasible.any()
    return explain_rejections(table, queries, constraints), table


def test_clearance_larger_than_the_organ_is_impossible_for_every_path():
    queries = simple(Structure("bowel", Role.BOWEL, ball((0, 30, 0), 15)))
    evidence, _ = evidence_of(queries, PathLimits(bowel_mm=40.0))
    proof = next(e for e in evidence if "No path whatever" in e.finding)
    stated = float(proof.finding.split("farther than ")[1].split(" mm")[0])
    # The far side of the target is 40 mm from the ball's middle.
    assert 25 - RADIUS <= stated <= 25 - RADIUS + 1.8
    # Where the target has room enough nothing is claimed.
    others, _ = evidence_of(queries, PathLimits(bowel_mm=20.0, skin_angle_deg=0.01))
    assert not any("No path whatever" in e.finding for e in others)


def test_a_structure_around_the_target_is_not_to_be_kept_from_by_less_than_nothing():
    evidence, _ = evidence_of(simple(Structure("bowel", Role.BOWEL, ball((0, 0, 0), 30))))
    proof = next(e for e in evidence if "No path whatever" in e.finding)
    assert "every needle into tumour touches or crosses bowel" in proof.finding
    assert "Separate the two" in proof.remedy and "Ask for less" not in proof.remedy
    first = next(e for e in evidence if "All" in e.finding and e.subject == "clearance to bowel")
    assert "every one of them touches or crosses it" in first.finding
    assert not any("Relax" in e.remedy for e in evidence)


def test_what_cannot_be_relaxed_is_not_to_be_relaxed():
    firm = Counted("skin crossed once", np.array([1.0, 0, 1]), 0.0, at_least=False, highest=-1)
    soft = Looked("length", np.array([90.0, 99, 120]), 98.0, at_least=False)
    table = screen(looked_table(3), made_queries(), (firm,))
    assert table.feasible.any()
    both = (firm, soft)
    table = screen(looked_table(3), made_queries(), both)
    contradiction = next(e for e in explain_rejections(table, made_queries(), both) if e.subject == "contradiction")
    assert contradiction.remedy == "Relax 'length'; the others can be satisfied together."
    # Neither may give way.
    firm_too = Looked("length", soft.values, 98.0, at_least=False, highest=98.0)
    table = screen(looked_table(3), made_queries(), (firm, firm_too))
    for item in explain_rejections(table, made_queries(), (firm, firm_too)):
        assert "Relax" not in item.remedy
    every = (Counted("skin crossed once", np.ones(3), 0.0, at_least=False, highest=-1),)
    evidence = explain_rejections(screen(looked_table(3), made_queries(), every), made_queries(), every)
    assert evidence[0].subject == "skin crossed once" and evidence[0].remedy.startswith("Choose another entry")
    assert not any("Relax" in item.remedy for item in evidence)


def test_a_needle_shorter_than_any_path_is_told_the_shortest():
    short = dataclasses.replace(APPLICATOR, usable_length_mm=40.0)
    evidence, table = evidence_of(simple(), applicator=short)
    first = evidence[0]
    assert first.subject == "usable length"
    assert f"the shortest path is {table.length_mm.min():.1f} mm" in first.finding and "to 40 mm" in first.finding
    assert f"at least {np.ceil(table.length_mm.min()):.0f} mm" in first.remedy
    opening = next(e for e in evidence if "Proven by screening again" in e.finding)
    assert opening.subject == "usable length"


def test_target_outside_the_skin_is_said_first():
    evidence, _ = evidence_of(simple(target=ball((0, -120, 0), 10)))
    assert "100 % of the surface of tumour lies outside skin" in evidence[0].finding and evidence[0].remedy


def test_zero_candidates_have_words():
    queries = simple()
    table = sample_trajectories(queries, APPLICATOR, COARSE).subset(np.zeros(0, dtype=np.int64))
    constraints = default_constraints(queries)
    table = rank(screen(table, queries, constraints), queries, default_objectives(queries))
    (only,) = explain_rejections(table, queries, constraints)
    assert "no candidate path at all" in only.finding and only.remedy
    assert len(map_skin(table, constraints)) == 0
    found = smallest_relaxations(table, queries, constraints)
    assert not found.found and not found.barriers


def test_empty_entry_region_is_refused_in_a_sentence():
    with pytest.raises(CaseError, match="entry region misses the skin"):
        simple(Structure("window", Role.ENTRY_REGION, box((-5, -5, -5), (5, 5, 5))))


def test_without_the_constraints_the_evidence_still_says_what_rejects():
    queries = enclosed()
    table, _ = screened(queries)
    evidence = explain_rejections(table, queries)
    assert evidence[0].subject == "clearance to bone" and evidence[0].remedy
