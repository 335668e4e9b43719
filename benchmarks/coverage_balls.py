"""A ball covered by equal balls, through the whole planning chain, beside the least radii that are known.

k balls of radius r cover the unit ball only if they cover its surface, where each of them holds a cap of an angular
radius of at most arcsin r. So r is at least the sine of the least angular radius at which k caps cover the sphere.
For 4 to 9 caps that angle is 45 degrees or more, and balls of just that radius about middles at the cosine of the
angle cover all of the ball: on the rim of its cap each holds the whole ray from cos(2 angle) <= 0 to 1. So for 4 to
9 the sine is the least radius itself; beyond, it is a bound.

Angles: for 4, 6 and 12 caps L. Fejes Toth, "Lagerungen in der Ebene, auf der Kugel und im Raum" (1953); for 5 and 7
K. Schuette, "Ueberdeckungen der Kugel mit hoechstens acht Kreisen", Math. Ann. 129 (1955); for 8 and 9 L. Wimmer,
"Covering the Sphere with 8 or 9 Equal Circles" (2003); for 10 G. Fejes Toth, "Kreisueberdeckungen der Sphaere",
Studia Sci. Math. Hung. 4 (1969). For 11 the best that is known is not proven least, so 11 is left out. Two or three
caps smaller than half spheres cover no sphere.
"""

import time
from dataclasses import dataclass

import numpy as np
import trimesh

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.coverage.options import CoverageOptions
from needleplan.devices.catalogue import Applicator, DeviceCatalogue, ZoneRow
from needleplan.frames import FloatArray
from needleplan.plan import Plan, PlanStatus
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits

#: Least angular radius, in degrees, at which so many equal caps cover the sphere.
CAP_ANGLES_DEG = {
    2: 90.0,
    3: 90.0,
    4: 70.5287794,
    5: 63.4349488,
    6: 54.7356103,
    7: 51.0265527,
    8: 48.1395291,
    9: 45.8788913,
    10: 42.3078266,
    12: 37.3773681,
}
#: For so many balls the sine of the angle is the least radius, and not only a bound.
FOUND = (4, 5, 6, 7, 8, 9)
#: Relative difference from the least radius on both sides.
BESIDE = 0.02
#: Points of the target, two spacings.
POINT_COUNTS = (1000, 4000)
TARGET_RADIUS_MM, BODY_RADIUS_MM = 20.0, 90.0
#: Middle of the target and distance from the needle's tip back to the middle of its zone.
_MIDDLE_MM, _TIP_TO_CENTRE_MM = np.array([4.0, -7.0, 11.0]), 10.0
_APPLICATOR = "ball"
#: Sampled points of the target that a claim is checked at.
_CHECKED = 400_000


def least_radius(count: int) -> float:
    """Least radius, or a bound of it, of ``count`` equal balls that cover the unit ball."""
    return float(np.sin(np.radians(CAP_ANGLES_DEG[count])))


@dataclass(frozen=True, slots=True)
class BallPlan:
    """A plan for a ball, and what is true of it.

    Attributes:
        count: zones allowed.
        share: radius of each zone in the target's.
        points: points asked for.
        plan: the plan.
        seconds: wall time of the chain.
        zones: ablations of the plan.
        claimed: True where it says that the target is covered.
        uncovered: sampled points of the target outside all zones.
    """

    count: int
    share: float
    points: int
    plan: Plan
    seconds: float
    zones: int
    claimed: bool
    uncovered: int

    @property
    def possible(self) -> bool:
        """False where the known least radius says that so many zones cannot do."""
        return self.share >= least_radius(self.count)

    @property
    def found(self) -> bool:
        """True where the target is covered with so many zones, by its claim and by the samples."""
        return self.claimed and self.zones <= self.count and not self.uncovered

    @property
    def unsound(self) -> bool:
        """True where something is claimed that is not so.

        That is: a cover by zones of which it is known that they cannot, or one that leaves a sampled point outside,
        or a bound above a number of zones that is known to do.
        """
        cover = self.claimed and (self.uncovered > 0 or (not self.possible and self.zones <= self.count))
        known = self.count in FOUND and self.possible
        proof = self.plan.proof
        return cover or (known and proof is not None and proof.lower_bound > self.count)


def ball_queries(subdivisions: int = 5) -> AnatomyQueries:
    """A ball in a body that is a ball; every vertex of the target lies on its sphere, its faces just within."""
    case = Case(
        "ball by balls",
        (
            Structure("tumour", Role.TARGET, ball_surface(_MIDDLE_MM, TARGET_RADIUS_MM, subdivisions)),
            Structure("skin", Role.SKIN, ball_surface(np.zeros(3), BODY_RADIUS_MM, 4)),
        ),
        PatientPosition.SUPINE,
        "0" * 64,
    )
    return AnatomyQueries(build_anatomy(case))


def ball_surface(middle_mm: FloatArray, radius_mm: float, subdivisions: int) -> SurfaceMesh:
    """A ball as a closed surface whose vertices lie on the sphere."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius_mm)
    return SurfaceMesh(np.asarray(mesh.vertices) + middle_mm, np.asarray(mesh.faces))


def ball_zones(radius_mm: float) -> EllipsoidTableModel:
    """A device whose only zone is a ball."""
    device = Applicator(_APPLICATOR, "MWA", "", 1.5, 250.0, 20.0, _TIP_TO_CENTRE_MM, False, "made for a benchmark")
    size = 2.0 * radius_mm
    row = ZoneRow(_APPLICATOR, "in_vivo", 50.0, 60.0, size, size, "", "benchmark", "READ", "high", "")
    return EllipsoidTableModel(DeviceCatalogue((device,), (row,)))


def plan_ball(
    queries: AnatomyQueries, count: int, share: float, points: int, aims: int = 60, time_limit_s: float = 8.0
) -> BallPlan:
    """The whole chain: ``count`` needles with one zone each, which may stand one after the other.

    Args:
        queries: of ``ball_queries``.
        count: zones allowed.
        share: their radius in the target's.
        points: points of the target's surface.
        aims: places where zones are offered before they are moved.
        time_limit_s: of each exact search.
    """
    options = PlanningOptions(
        applicator=_APPLICATOR,
        sampling=SamplingOptions(entry_spacing_mm=30.0, aim_count=aims),
        limits=PathLimits(skin_angle_deg=85.0, table_angle_deg=180.0),
        coverage=CoverageOptions(
            margin_mm=0.0,
            maximum_insertions=count,
            point_count=points,
            paths_per_aim=1,
            pull_back_mm=100.0,
            setting_count=1,
            needles_at_once=1,
            time_limit_s=time_limit_s,
        ),
    )
    start = time.perf_counter()
    plan = make_plan(queries, options, zone_model=ball_zones(share * TARGET_RADIUS_MM)).plan
    seconds = time.perf_counter() - start
    middles = zone_middles_mm(plan)
    return BallPlan(
        count,
        share,
        points,
        plan,
        seconds,
        len(middles),
        plan.status is PlanStatus.COMPLETE,
        uncovered_points(queries, middles, share * TARGET_RADIUS_MM),
    )


def zone_middles_mm(plan: Plan) -> FloatArray:
    """(n, 3) middles of the zones, from entries and tips alone."""
    middles = []
    for insertion in plan.insertions:
        entry = np.array(insertion.entry_mm)
        for ablation in insertion.ablations:
            tip = np.array(ablation.tip_mm)
            middles.append(tip - _TIP_TO_CENTRE_MM * (tip - entry) / np.linalg.norm(tip - entry))
    return np.array(middles).reshape(-1, 3)


def uncovered_points(
    queries: AnatomyQueries, middles_mm: FloatArray, radius_mm: float, count: int = _CHECKED
) -> int:
    """Sampled points of the target that lie in no ball: half of them in its inside, half on its faces."""
    rng = np.random.default_rng(5)
    mesh = queries.anatomy.target.mesh
    inside = rng.normal(size=(count // 2, 3))
    inside /= np.linalg.norm(inside, axis=1, keepdims=True)
    inside *= TARGET_RADIUS_MM * np.cbrt(rng.uniform(size=(count // 2, 1)))
    # The sphere that touches the faces from within may be less by this share: nothing outside the target counts.
    inside *= np.linalg.norm(mesh.triangles_mm.mean(axis=1) - _MIDDLE_MM, axis=1).min() / TARGET_RADIUS_MM
    faces = rng.integers(0, len(mesh.faces), count - count // 2)
    weights = rng.dirichlet([1.0, 1.0, 1.0], len(faces))
    outer = np.einsum("nk,nkx->nx", weights, mesh.triangles_mm[faces])
    missed = 0
    for points in (inside + _MIDDLE_MM, outer):
        least = np.full(len(points), np.inf)
        for middle in middles_mm:
            np.minimum(least, np.linalg.norm(points - middle, axis=1), out=least)
        missed += int((least > radius_mm + 1e-6).sum())
    return missed
