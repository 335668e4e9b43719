"""Guide a tracked needle that a hand inserts: register, watch, let go, replay the record, plan the rest again.

    python examples/guide_a_needle.py [--log session.log]

The tracker is made up: it sees needle and reference 60 times a second with the noise of an optical one. Research
software, not a medical device.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.options import CoverageOptions
from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.motion.lujan import LujanMotion
from needleplan.navigation.events import (
    BreathingSample,
    GuidanceAsked,
    NeedlePlaced,
    NeedleSelected,
    ToolPose,
    TrackedTool,
    pose_event,
)
from needleplan.navigation.guidance import Advice, Guidance
from needleplan.navigation.live_replanning import LiveReplanner, LiveReplanning
from needleplan.navigation.live_session import LiveSession
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.patient_registration import register_fiducials, touched_point
from needleplan.navigation.recorded_session import RecordedSession, Replayed, replay
from needleplan.navigation.session_log import read_log
from needleplan.plan import Insertion, vector3
from needleplan.planning import PlanningOptions, make_plan
from needleplan.registration.point_based import PointOptions
from needleplan.registration.rotations import rotations_of
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.search import SearchOptions

#: Coarse, so that this takes seconds.
OPTIONS = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=16.0, aim_count=12),
    search=SearchOptions(0, 0, 5_000, 0),
    coverage=CoverageOptions(point_count=2_000, paths_per_aim=6, setting_count=4, time_limit_s=3.0),
    refine=False,
)
STEP_S, LATENCY_S, NOISE_MM = 1.0 / 60.0, 0.015, 0.1
#: The hand's speed while the needle may go on, and how far beside its plan it goes.
HAND_MM_S, ASIDE_MM = 12.0, 1.0
#: Where five markers sit about the body's middle, along the patient's axes (lateral, up, cranial).
MARKERS = {
    "left": (110.0, 20.0, 10.0),
    "right": (-105.0, 30.0, -20.0),
    "above": (5.0, 105.0, 60.0),
    "below": (-10.0, 95.0, -70.0),
    "middle": (20.0, 125.0, 0.0),
}


class MadeUpTracker:
    """Sees needle and reference from somewhere, with noise."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.time_s = 0.0
        self.X_TP, self.X_PR = np.eye(4), np.eye(4)
        self.X_TP[:3, :3], self.X_TP[:3, 3] = rotations_of(np.array([0.6, -0.9, 0.3])), (80.0, -50.0, 1500.0)
        self.X_PR[:3, :3], self.X_PR[:3, 3] = rotations_of(np.array([0.2, 0.4, 1.3])), (60.0, -140.0, 90.0)

    def sees(self, X_PN: FloatArray) -> Iterator[ToolPose]:
        """Both tools at the next moment."""
        self.time_s += STEP_S
        for tool, pose in ((TrackedTool.NEEDLE, X_PN), (TrackedTool.REFERENCE, self.X_PR)):
            seen = self.X_TP @ pose
            seen[:3, 3] += NOISE_MM * self.rng.standard_normal(3)
            event = pose_event(tool, self.time_s, self.time_s + LATENCY_S, seen)
            assert isinstance(event, ToolPose)
            yield event


def main(
    log: Path, options: PlanningOptions = OPTIONS, seed: int = 1
) -> tuple[list[Guidance], Replayed, LiveReplanning]:
    """Plan the built-in patient, register, insert the first needle, replay the record, plan the rest again."""
    queries = AnatomyQueries(
        build_anatomy(make_phantom(PhantomParameters(), np.random.default_rng(seed)).case(voxel_mm=3.0))
    )
    planning = make_plan(queries, options)
    plan, model = planning.plan, planning.zone_model
    insertion = plan.insertions[0]
    print(f"planned: {len(plan.insertions)} needles; the first goes {insertion.depth_mm:.0f} mm deep")
    limits = SessionOptions(clearance_mm=0.3)

    tracker = MadeUpTracker(seed)
    said: list[Guidance] = []
    session = LiveSession(plan, queries, model.catalogue.applicators, limits)
    with RecordedSession.begin(log, session) as recorded:
        register(recorded, tracker, queries)
        recorded.take(NeedleSelected(tracker.time_s, insertion.order))
        said += insert(recorded, tracker, insertion)
        recorded.take(NeedlePlaced(tracker.time_s + LATENCY_S))
        (needle,) = session.measured
        print(f"let go {np.linalg.norm(needle.tip_mm - np.asarray(insertion.tip_mm)):.1f} mm from its plan")

    again = replay(read_log(log), LiveSession(plan, queries, model.catalogue.applicators, limits))
    same = "the same, bit by bit" if again.equal else again.difference
    print(f"replayed: {again.events} events and {again.answers} answers: {same}")

    replanner = LiveReplanner.prepare(plan, queries, model)
    rest = replanner.replan(session.state, tracker.time_s)
    print(f"planned again in {rest.duration_s:.1f} s (prepared before in {replanner.prepared_s:.1f} s):")
    for sentence in rest.event.reason:
        print(f"  {sentence}")
    session.take(rest.event)
    return said, again, rest


def register(recorded: RecordedSession, tracker: MadeUpTracker, queries: AnatomyQueries) -> None:
    """Touch each marker with the tip and register."""
    axes, middle = queries.anatomy.axes, queries.origin_mm
    image = {name: middle + axes @ np.array(place) for name, place in MARKERS.items()}
    points = []
    for name, place in image.items():
        pose = np.eye(4)
        pose[:3, 3] = place
        poses = [event for _ in range(90) for event in tracker.sees(pose)]
        points.append(touched_point(name, poses))
    tips = [one.tip_mm for one in recorded.session.planned]
    found = register_fiducials(image, points, tips, tracker.time_s, PointOptions(fle_mm=0.5))
    recorded.take(found.event)
    for sentence in (*found.event.statement, *found.event.unsure):
        print(f"  {sentence}")


def insert(recorded: RecordedSession, tracker: MadeUpTracker, insertion: Insertion) -> list[Guidance]:
    """A hand that goes on while it is told to, and waits while the patient inhales."""
    breathing = LujanMotion(10.0)
    x, y = perpendicular_axes(insertion.direction)
    turn = np.column_stack([x, y, insertion.direction])
    to_go_mm, said = insertion.depth_mm, []
    before = None
    for _ in range(60 * 60):
        pose = np.eye(4)
        pose[:3, :3] = turn
        pose[:3, 3] = np.asarray(insertion.tip_mm) - to_go_mm * insertion.direction + ASIDE_MM * x
        for event in tracker.sees(pose):
            recorded.take(event)
        now_s = tracker.time_s + LATENCY_S
        where = breathing.displacement_mm(tracker.time_s) + 0.1 * tracker.rng.standard_normal(3)
        recorded.take(BreathingSample(tracker.time_s, now_s, vector3(where)))
        guidance = recorded.take(GuidanceAsked(now_s))
        assert guidance is not None
        said.append(guidance)
        if guidance.advice is not before:
            before = guidance.advice
            left = "" if guidance.to_go_mm is None else f", {guidance.to_go_mm:.1f} mm to go"
            print(f"{now_s:6.2f} s  {guidance.advice.value}{left}  {' '.join(d.sentence for d in guidance.doubts)}")
        if guidance.advice is Advice.ARRIVED:
            break
        if guidance.advice is Advice.GO:
            to_go_mm = max(0.0, to_go_mm - HAND_MM_S * STEP_S)
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, help="file of the record (a temporary one)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        main(given.log or Path(folder) / "session.log")
