"""Margins, limits and costs of a plan, and how they change about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.skin_normals import cube_keys
from needleplan.anatomy.surface_points import surface_points
from needleplan.assess import SURFACE_SPACING_MM
from needleplan.coverage.refinement_checks import PathChecks, PlanLimit
from needleplan.coverage.refinement_moves import PlanMoves
from needleplan.coverage.refinement_program import Program
from needleplan.frames import FloatArray
from needleplan.plan import Insertion

#: Greatest change of a coordinate that a program may be asked for.
LARGEST_RADIUS = 3.0
#: Changes of coordinates by which slopes of margins, and of healthy tissue, are taken.
_MARGIN_STEP, _TISSUE_STEP = 1e-4, 0.05
#: All coordinates together change a margin by at most about this many mm a unit.
_STEEPEST = 4.0
#: Points of the target's surface that stand in one program.
_PROGRAM_POINTS = 400
#: Spacing of the points that healthy tissue is counted by; a cube counts by its depth in the zone.
_TISSUE_SPACING_MM = 3.0
#: Slack beyond this a unit of the greatest change is not linearised, until it has refused a step.
_PLAN_REACH = 6.0
#: Slacks are compared within this: beyond it nothing is felt, nor where a path leaves the skin.
FELT = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class RefinedPlan:
    """A plan on the way.

    Attributes:
        insertions: its needles.
        margins_mm: (n,) at each point of the target's surface the radius of the largest ball within one spheroid,
            negative outside: never more than the true margin.
        plan_slack: what is left to each limit of the whole plan.
    """

    insertions: tuple[Insertion, ...]
    margins_mm: FloatArray
    plan_slack: tuple[float, ...]

    @property
    def least_mm(self) -> float:
        """The smallest margin."""
        return float(self.margins_mm.min())


@dataclass(frozen=True, slots=True, eq=False)
class Freedom:
    """What may move.

    Attributes:
        fixed: indices of needles that stand in the patient.
        slide_fixed: ablations may move along these, no deeper than they stand.
        settings_move: powers and times may change.
    """

    fixed: frozenset[int]
    slide_fixed: bool
    settings_move: bool


class PlanModel:
    """What a search must know of plans.

    Args:
        queries: the anatomy.
        zone_model: predicts the zones.
        checks: limits of the paths.
        plan_limits: limits of the whole plan.
        freedom: what may move.
        minute_ml: a minute of treatment weighs as much as this volume of tissue.
        further_points_mm: (m, 3) points that must have the margin besides those of the target's surface.
    """

    def __init__(
        self,
        queries: AnatomyQueries,
        zone_model: EllipsoidTableModel,
        checks: PathChecks,
        plan_limits: Sequence[PlanLimit],
        freedom: Freedom,
        minute_ml: float,
        further_points_mm: FloatArray,
    ) -> None:
        self._axes, self._origin = queries.anatomy.axes, queries.origin_mm
        self._zone_model = zone_model
        self.checks = checks
        self.plan_limits = tuple(plan_limits)
        self._freedom = freedom
        self._minute_ml = minute_ml
        points, _ = surface_points(queries.anatomy.target.mesh, SURFACE_SPACING_MM)
        points = np.concatenate([points, further_points_mm])
        #: (m, 3) the points by which plans are compared in the end, as they come from the surface.
        self.measured_mm = points
        # Corners of split faces come once a face.
        self._local = np.unique(np.round((points - self._origin) @ self._axes, 6), axis=0)
        #: (n, 3) points that must have the margin: those of the target's surface and further ones.
        self.points_mm = self._origin + self._local @ self._axes.T
        #: Limits of the whole plan that have refused a step: they are linearised from then on.
        self.felt_limits: set[int] = set()
        #: How often zones were compared with points of the target.
        self.evaluations = 0

    def plan(self, insertions: Sequence[Insertion]) -> RefinedPlan:
        """A plan with its margins and slacks."""
        found = tuple(insertions)
        slack = tuple(limit.slack_mm(found) for limit in self.plan_limits)
        return RefinedPlan(found, self.margins_mm(found, self.points_mm), slack)

    def moves(self, plan: RefinedPlan) -> PlanMoves:
        """Coordinates about a plan."""
        freedom = self._freedom
        return PlanMoves(
            plan.insertions,
            self._zone_model,
            self._axes,
            freedom.fixed,
            freedom.slide_fixed,
            freedom.settings_move,
        )

    def margins_mm(self, insertions: Sequence[Insertion], points_mm: FloatArray) -> FloatArray:
        """Depths (n,) of points (n, 3) in the deepest single spheroid; minus infinity without any."""
        self.evaluations += 1
        return self._zone_model.zone(insertions).signed_distance_mm(points_mm)

    def depths_mm(self, insertions: Sequence[Insertion], points_mm: FloatArray) -> FloatArray:
        """(z, n) depths of points (n, 3) in each zone, needle by needle in the order of their ablations."""
        self.evaluations += 1
        zone = self._zone_model.zone(insertions)
        each = [
            SpheroidUnion(zone.centres_mm[k], zone.axes[k], zone.axial_mm[k], zone.radial_mm[k])
            for k in range(len(zone))
        ]
        return np.array([single.signed_distance_mm(points_mm) for single in each])

    def cost_ml(self, insertions: Sequence[Insertion], points_mm: FloatArray | None = None) -> float:
        """Volume of the zones, about points (n, 3) where given, and the time of treatment as a volume."""
        points = self._lattice(insertions) if points_mm is None else points_mm
        depth = self._zone_model.zone(insertions).signed_distance_mm(points)
        return _volume_ml(depth) + self._minute_ml * _minutes(insertions)

    def program(
        self, plan: RefinedPlan, moves: PlanMoves, rows: NDArray[np.int64], radius: float, paths_limited: bool
    ) -> tuple[Program, list[tuple[int | None, str]]]:
        """The linear program about a plan, and of each of its limits the needle (None for all) and the name."""
        m = len(moves)
        points = self.points_mm[rows]
        depths = self.depths_mm(plan.insertions, points)
        slopes = np.zeros((len(depths), len(points), m))
        zone = 0
        for needle, insertion in enumerate(plan.insertions):
            own = slice(zone, zone + len(insertion.ablations))
            zone = own.stop
            for j in range(moves.first[needle], moves.first[needle + 1]):
                size = _away(moves, j, _MARGIN_STEP)
                moved = moves.moved_needle(needle, _unit(m, j, size))
                slopes[own, :, j] = (self.depths_mm([moved], points) - depths[own]) / size
        slack: list[float] = []
        ups: list[FloatArray] = []
        downs: list[FloatArray] = []
        limits: list[tuple[int | None, str]] = []
        width = float(np.clip(0.3 * radius, 0.01, 0.3))
        for needle, insertion in enumerate(plan.insertions):
            coordinates = moves.line_coordinates(needle)
            if not len(coordinates) or not paths_limited:
                continue
            paths = [insertion]
            for j in coordinates:
                paths += [moves.moved_needle(needle, _unit(m, j, s)) for s in (width, -width)]
            judged = self.checks.judge(paths)
            values = np.clip(judged.slack, -FELT, FELT)
            up, down = np.zeros((values.shape[1], m)), np.zeros((values.shape[1], m))
            up[:, list(coordinates)] = ((values[1::2] - values[0]) / width).T
            down[:, list(coordinates)] = ((values[2::2] - values[0]) / width).T
            slack += np.maximum(values[0], 0.0).tolist()
            ups += list(up)
            downs += list(down)
            limits += [(needle, name) for name in judged.names]
        for index, limit in enumerate(self.plan_limits):
            left = plan.plan_slack[index]
            if left > _PLAN_REACH * radius and index not in self.felt_limits:
                continue
            change = np.array(
                [[limit.slack_mm(moves.moved(_unit(m, j, s))) - left for j in range(m)] for s in (width, -width)]
            )
            change = np.clip(change, -FELT, FELT) / width
            slack.append(left)
            ups.append(change[0])
            downs.append(change[1])
            limits.append((None, limit.name))
        up, down = np.array(ups).reshape(-1, m), np.array(downs).reshape(-1, m)
        # Where slack grows to both sides a program could go both ways at once: the mean slope has no such profit.
        growing = up + down > 0
        mean = 0.5 * (up - down)
        up, down = np.where(growing, mean, up), np.where(growing, -mean, down)
        program = Program(depths, slopes, np.array(slack), up, down, moves.lower, moves.upper)
        return program, limits

    def program_points(self, margins: FloatArray, radius: float) -> NDArray[np.int64]:
        """Points that may get the least margin by a step; of neighbours the worst."""
        near = np.flatnonzero(margins <= margins.min() + _STEEPEST * radius)
        near = near[np.argsort(np.round(margins[near], 9), kind="stable")]
        cube_mm = max(1.0, 0.75 * radius)
        while True:
            cubes = cube_keys(np.floor(self._local[near] / cube_mm).astype(np.int64))
            _, first = np.unique(cubes, return_index=True)
            if len(first) <= _PROGRAM_POINTS:
                return near[np.sort(first)]
            cube_mm *= 1.25

    def _lattice(self, insertions: Sequence[Insertion]) -> FloatArray:
        """Middles (n, 3) of the cubes about the zones, along the patient's axes."""
        zone = self._zone_model.zone(insertions)
        reach = np.maximum(zone.axial_mm, zone.radial_mm)[:, None] + 6.0 * LARGEST_RADIUS
        local = (zone.centres_mm - self._origin) @ self._axes
        ranges = [
            np.arange(np.floor(low / _TISSUE_SPACING_MM), np.ceil(high / _TISSUE_SPACING_MM) + 1)
            * _TISSUE_SPACING_MM
            for low, high in zip((local - reach).min(axis=0), (local + reach).max(axis=0), strict=True)
        ]
        return self._origin + np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) @ self._axes.T

    def tissue_slopes(self, plan: RefinedPlan, moves: PlanMoves, radius: float) -> tuple[FloatArray, FloatArray]:
        """Points that a step may win or lose, and (m,) the change of the cost per unit."""
        points = self._lattice(plan.insertions)
        depth = np.abs(self._zone_model.zone(plan.insertions).signed_distance_mm(points))
        m = len(moves)
        nearest = points[depth <= 0.5 * _TISSUE_SPACING_MM + _STEEPEST * _TISSUE_STEP]
        slopes = np.empty(m)
        now = self.cost_ml(plan.insertions, nearest)
        for needle in range(len(plan.insertions)):
            others = [insertion for k, insertion in enumerate(plan.insertions) if k != needle]
            rest = self.margins_mm(others, nearest)
            for j in range(moves.first[needle], moves.first[needle + 1]):
                size = _away(moves, j, _TISSUE_STEP)
                moved = moves.moved_needle(needle, _unit(m, j, size))
                volume = _volume_ml(np.maximum(self.margins_mm([moved], nearest), rest))
                slopes[j] = (volume + self._minute_ml * _minutes([*others, moved]) - now) / size
        return points[depth <= 0.5 * _TISSUE_SPACING_MM + 2.0 * _STEEPEST * radius], slopes


def _volume_ml(depth_mm: FloatArray) -> float:
    """Volume of the cubes whose middles lie at depths (n,) in the zones; those at the boundary count in part."""
    inside = np.clip(0.5 + depth_mm / _TISSUE_SPACING_MM, 0.0, 1.0)
    return _TISSUE_SPACING_MM**3 / 1000.0 * float(inside.sum())


def _minutes(insertions: Sequence[Insertion]) -> float:
    """Time that energy flows."""
    return sum(ablation.duration_s for insertion in insertions for ablation in insertion.ablations) / 60.0


def _away(moves: PlanMoves, j: int, size: float) -> float:
    """A change of one coordinate that its upper bound allows."""
    return size if moves.upper[j] >= size else -size


def _unit(m: int, j: int, size: float) -> FloatArray:
    vector = np.zeros(m)
    vector[j] = size
    return vector
