"""How often a live session gives guidance, and how long it plans again, with needles where they really stand."""

import dataclasses
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from coverage_cases import LIVER
from rows import Row

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.load import load_case
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.treatment_state import MeasuredNeedle, TreatmentState
from needleplan.frames import FloatArray, Frame, RigidTransform, perpendicular_axes
from needleplan.motion.lujan import LujanMotion
from needleplan.navigation.events import (
    BreathingSample,
    GuidanceAsked,
    NeedleSelected,
    Registered,
    RegistrationMethod,
    SessionEvent,
    TrackedTool,
    pose_event,
)
from needleplan.navigation.live_replanning import LiveReplanner
from needleplan.navigation.live_session import LiveSession
from needleplan.navigation.recorded_session import RecordedSession
from needleplan.plan import Insertion, Plan, vector3
from needleplan.planning import PlanningOptions, make_plan
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.search import SearchOptions

#: What was asked for: guidance so often, and a new plan so soon.
LIMIT_HZ, LIMIT_REPLAN_S = 60.0, 5.0
#: Rate at which the tracker measures, and how long it takes until a pose arrives.
TRACKER_HZ, LATENCY_S = 60.0, 0.015
#: How far the first needle ends from its plan, to four sides, too short and too deep.
MISSES_MM = (3.0, 6.0, 10.0)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class GuidedCase:
    """A patient with a plan.

    Attributes:
        name: of the patient, for people.
        queries: the anatomy.
        plan: its plan.
        zone_model: predicts zones.
    """

    name: str
    queries: AnatomyQueries
    plan: Plan
    zone_model: EllipsoidTableModel


def guided_case(data: Path | None, quick: bool) -> GuidedCase:
    """The real liver with its plan where the data are at hand, else the built-in patient."""
    if data is not None:
        queries = AnatomyQueries(build_anatomy(load_case(LIVER, data)))
        name, options = "real liver", PlanningOptions(refine=False)
    else:
        phantom = make_phantom(PhantomParameters(), np.random.default_rng(1))
        queries = AnatomyQueries(build_anatomy(phantom.case(voxel_mm=3.0)))
        name, options = "built-in patient", PlanningOptions(refine=False)
    if quick:
        options = dataclasses.replace(
            options,
            sampling=SamplingOptions(entry_spacing_mm=16.0, aim_count=12),
            search=SearchOptions(0, 0, 5_000, 0),
            coverage=CoverageOptions(point_count=2_000, paths_per_aim=6, setting_count=4, time_limit_s=3.0),
        )
    planning = make_plan(queries, options)
    if not planning.plan.insertions:
        raise SystemExit(f"{name}: no needle was planned that could be guided")
    return GuidedCase(name, queries, planning.plan, planning.zone_model)


def stream(insertion: Insertion, seconds: float) -> Iterator[list[SessionEvent]]:
    """Poses of needle and reference and a breathing sample, 60 times a second, while the needle goes its way."""
    rng = np.random.default_rng(0)
    motion = LujanMotion(12.0)
    X_TR = np.eye(4)
    X_TR[:3, 3] = (150.0, -80.0, 1300.0)
    x, y = perpendicular_axes(insertion.direction)
    steps = round(seconds * TRACKER_HZ)
    for k in range(1, steps + 1):
        measured_s = k / TRACKER_HZ
        seen_s = measured_s + LATENCY_S
        X_RN = np.eye(4)
        X_RN[:3, :3] = np.column_stack([x, y, insertion.direction])
        to_go_mm = insertion.depth_mm * (1.0 - k / steps)
        X_RN[:3, 3] = np.asarray(insertion.tip_mm) - to_go_mm * insertion.direction
        displacement = motion.displacement_mm(measured_s) + 0.2 * rng.standard_normal(3)
        yield [
            pose_event(TrackedTool.NEEDLE, measured_s, seen_s, _shaken(X_TR @ X_RN, rng)),
            pose_event(TrackedTool.REFERENCE, measured_s, seen_s, _shaken(X_TR, rng)),
            BreathingSample(measured_s, seen_s, vector3(displacement)),
            GuidanceAsked(seen_s),
        ]


def hz_rows(case: GuidedCase, quick: bool) -> list[Row]:
    """Guidance a second of a recorded session, each with the three samples before it."""
    insertion = case.plan.insertions[0]
    session = LiveSession(case.plan, case.queries, case.zone_model.catalogue.applicators)
    times_s = []
    with tempfile.TemporaryDirectory() as folder:
        with RecordedSession.begin(Path(folder) / "session.log", session) as recorded:
            covariance = PoseCovariance.of_parts(Frame.PATIENT, insertion.tip_mm, 0.2)
            pose = RigidTransform.identity(Frame.PATIENT, Frame.REFERENCE)
            recorded.take(Registered(0.0, pose, covariance, RegistrationMethod.STATED, 0.5))
            recorded.take(NeedleSelected(0.0, insertion.order))
            # As the server does: a full collection of all that was loaded takes 0.1 s.
            gc.collect()
            gc.freeze()
            for events in stream(insertion, 3.0 if quick else 30.0):
                start = time.perf_counter()
                for event in events:
                    recorded.take(event)
                times_s.append(time.perf_counter() - start)
    # The first ones compile and fill caches.
    steady = times_s[30:]
    median_s, worst_s = statistics.median(steady), max(steady)
    print(
        f"{case.name}: samples, guidance and log in {median_s * 1e3:.2f} ms (median), {worst_s * 1e3:.2f} ms "
        f"(worst of {len(steady)})",
        file=sys.stderr,
    )
    return [
        Row.against("session_hz", 1.0 / median_s, "1/s", "limit", LIMIT_HZ),
        Row.against("session_worst_s", worst_s, "s", "limit", 1.0 / LIMIT_HZ),
    ]


def replan_rows(case: GuidedCase, sizes: int) -> list[Row]:
    """Time of planning again after the first needle missed, what that takes, and what is prepared before.

    Args:
        case: the patient.
        sizes: how many sizes of misses are tried, the smallest first.
    """
    replanner = LiveReplanner.prepare(case.plan, case.queries, case.zone_model)
    times_s, added, restored = [], [], []
    for miss_mm in MISSES_MM[:sizes]:
        for way, needle in misses(case.plan.insertions[0], miss_mm).items():
            state = TreatmentState(case.plan.insertions, (needle,), ())
            found = replanner.replan(state, 1.0)
            again = found.replanning
            times_s.append(found.duration_s)
            added.append(len(again.added))
            restored.append(again.restored)
            print(
                f"  {miss_mm:g} mm {way}: {100.0 * again.share_before:.2f} % as planned, "
                f"{100.0 * again.share_after:.2f} % with {len(again.added)} new punctures "
                f"({'complete' if again.complete else again.status}), {found.duration_s:.2f} s",
                file=sys.stderr,
            )
    return [
        Row.against("replan_s", max(times_s), "s", "limit", LIMIT_REPLAN_S),
        Row("replan_median_s", statistics.median(times_s), "s"),
        Row("replan_new_punctures", statistics.mean(added), "1"),
        Row("replan_restored", statistics.mean(restored), "1"),
        Row("replan_prepared_s", replanner.prepared_s, "s"),
    ]


def misses(insertion: Insertion, miss_mm: float) -> dict[str, MeasuredNeedle]:
    """The needle of an insertion where it ends so far from its plan, by the way it missed."""
    side, other = perpendicular_axes(insertion.direction)
    ways = {
        "to one side": side, "to the other": -side, "across": other, "across, the other way": -other,
        "too short": -insertion.direction, "too deep": insertion.direction,
    }  # fmt: skip
    tip = np.asarray(insertion.tip_mm)
    return {
        way: MeasuredNeedle(insertion.order, np.asarray(insertion.entry_mm), tip + miss_mm * offset)
        for way, offset in ways.items()
    }


def session_rows(data: Path | None, repeats: int = 3, quick: bool = False) -> list[Row]:
    """All rows of the live session.

    Args:
        data: folder of the real patients; None takes the built-in one.
        repeats: how many sizes of misses are planned again.
        quick: True for a smoke test on coarse settings.
    """
    case = guided_case(data, quick)
    return [*hz_rows(case, quick), *replan_rows(case, repeats)]


def _shaken(pose: FloatArray, rng: np.random.Generator) -> FloatArray:
    result = np.array(pose)
    result[:3, 3] += 0.05 * rng.standard_normal(3)
    return result
