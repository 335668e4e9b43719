import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from sim.compensation.contract import SensorSample
from sim.controller_options import ControllerOptions
from sim.faults import Fault, FaultKind, parse_fault
from sim.supervision import Alarm, Supervision
from sim.tracking_camera import CameraReading

AXIS = np.array([0.36, -0.48, -0.8])
SIDE = np.array([0.8, 0.6, 0.0])
RIGHT = np.array([0.1, 0.2, 0.3, 0.05])


class Watch:
    """A supervision fed at 50 Hz with what is true plus noise, unless a test changes it."""

    def __init__(self, seed: int = 0) -> None:
        self.supervision = Supervision(ControllerOptions())
        self.rng = np.random.default_rng(seed)
        self.time, self.way_mm, self.breath = 3.0, 0.0, 1.0

    def feed(
        self,
        seconds: float,
        *,
        before_skin: bool = False,
        speed_mm_s: float = 0.0,
        hub_offset: FloatArray | None = None,
        hub_speed_mm_s: float = 0.0,
        reference: FloatArray | None = None,
        cough_mm_s: float = 0.0,
        blind_camera: bool = False,
        blind_sensor: bool = False,
        encoders: FloatArray = RIGHT,
    ) -> Alarm | None:
        """The first alarm within so many seconds; ``speed_mm_s`` is the needle's, known to arm and camera alike."""
        begin = self.time
        for _ in range(round(seconds / 0.02)):
            self.time += 0.02
            gone = self.time - begin
            self.way_mm += 0.02 * speed_mm_s
            way = self.way_mm * AXIS
            # The camera's pose is 0.04 s old.
            late = (self.way_mm - 0.04 * speed_mm_s + hub_speed_mm_s * gone) * AXIS
            constant = np.array([1.0, -2.0, 0.5])  # an error of registration
            seen = late + constant + (0.0 if hub_offset is None else hub_offset)
            noise = 0.15 * self.rng.standard_normal((2, 3))
            if not blind_camera:
                self.reading = CameraReading(
                    self.time - 0.04, seen + noise[0], AXIS,
                    (np.zeros(3) if reference is None else reference) + noise[1],
                )  # fmt: skip
            samples = []
            if not blind_sensor:
                size = self.breath * 15.0 * np.cos(np.pi * self.time / 4.0) ** 4 + cough_mm_s * gone
                displacement = np.array([0.0, -0.3 * size, -size]) + 0.3 * self.rng.standard_normal(3)
                samples = [SensorSample(self.time - 0.05, displacement)]
            alarm = self.supervision.watch(
                self.time, samples, getattr(self, "reading", None), way, AXIS, RIGHT, encoders, before_skin
            )
            if alarm is not None:
                return alarm
        return None


def _ready(seed: int = 0) -> Watch:
    watch = Watch(seed)
    watch.supervision.begin_insertion()
    assert watch.feed(1.0, before_skin=True) is None
    return watch


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_raised_while_all_is_well(seed: int) -> None:
    watch = _ready(seed)
    assert watch.feed(20.0, speed_mm_s=8.0) is None


def test_a_pose_or_a_sample_that_does_not_come_is_noticed_in_time_and_may_pass() -> None:
    for blind, word, limit in (("blind_camera", "pose", 0.2), ("blind_sensor", "sample", 0.25)):
        watch = _ready()
        begin = watch.time
        alarm = watch.feed(5.0, **{blind: True})  # type: ignore[arg-type]
        assert alarm is not None and alarm.may_pass and not alarm.ends_session and word in alarm.reason
        assert watch.time - begin <= limit + 0.02
        assert watch.feed(1.0) is None


def test_a_camera_that_never_saw_anything_is_noticed() -> None:
    watch = Watch()
    assert watch.feed(0.1, blind_camera=True) is None
    alarm = watch.feed(1.0, blind_camera=True)
    assert alarm is not None and "pose" in alarm.reason


def test_a_patient_who_has_moved_ends_the_session() -> None:
    watch = _ready()
    assert watch.feed(2.0, reference=1.0 * SIDE) is None
    alarm = watch.feed(2.0, reference=3.5 * SIDE)
    assert alarm is not None and not alarm.may_pass and alarm.ends_session and "registered again" in alarm.reason


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_slipping_needle_is_noticed_before_it_has_lost_two_millimetres(sign: float) -> None:
    watch = _ready()
    assert watch.feed(2.0, speed_mm_s=8.0) is None
    begin = watch.time
    alarm = watch.feed(5.0, speed_mm_s=8.0, hub_speed_mm_s=4.0 * sign)
    assert alarm is not None and not alarm.may_pass and "slips" in alarm.reason
    assert ("behind" if sign < 0 else "ahead") in alarm.reason
    assert (watch.time - begin) * 4.0 <= 2.2
    # Each needle is looked at afresh.
    watch.supervision.begin_insertion()
    assert watch.feed(1.0, before_skin=True) is None


def test_a_hub_beside_its_place_is_noticed_and_a_constant_difference_is_not() -> None:
    watch = _ready()
    assert watch.feed(1.0, hub_offset=1.2 * SIDE) is None
    alarm = watch.feed(1.0, hub_offset=3.5 * SIDE)
    assert alarm is not None and "beside" in alarm.reason and not alarm.may_pass


@pytest.mark.parametrize(("joint", "jammed", "driver"), [(2, True, False), (3, False, True)])
def test_joints_and_driver_that_do_not_follow_are_told_apart(joint: int, jammed: bool, driver: bool) -> None:
    watch = _ready()
    encoders = RIGHT.copy()
    encoders[joint] -= 0.02
    alarm = watch.feed(0.1, encoders=encoders)
    assert alarm is not None and alarm.ends_session and (alarm.jammed, alarm.driver_jammed) == (jammed, driver)
    assert ("driver" if driver else "joint 3") in alarm.reason


def test_a_cough_is_told_from_a_deep_breath() -> None:
    watch = Watch()
    watch.breath = 1.6
    assert watch.feed(20.0) is None
    alarm = watch.feed(1.0, cough_mm_s=80.0)
    assert alarm is not None and alarm.may_pass and "cough" in alarm.reason


def test_faults_are_read_and_impossible_ones_refused() -> None:
    assert parse_fault("cough") == Fault(FaultKind.COUGH)
    assert parse_fault("needle-slip@2:0.7") == Fault(FaultKind.NEEDLE_SLIP, 2, 0.7)
    assert parse_fault("stale-pose@1:-0.5").at_depth_share == -0.5
    for text, word in (
        ("hiccup", "no fault"),
        ("cough@x", "written"),
        ("cough@1:2", "between"),
        ("cough@0", "from 1"),
    ):
        with pytest.raises(OptionError, match=word):
            parse_fault(text)
    with pytest.raises(OptionError, match="size"):
        Fault(FaultKind.COUGH, size=-1.0)
    with pytest.raises(OptionError, match="longer"):
        Fault(FaultKind.COUGH, duration_s=0.0)
    for kind in FaultKind:
        assert kind.value in Fault(kind).text


def test_a_guide_that_is_tilted_against_the_camera_is_no_deviation() -> None:
    """By two degrees, over a way of 80 mm: the hub leaves the believed way by 2.8 mm, and that is no fault."""
    supervision, rng = Supervision(ControllerOptions()), np.random.default_rng(2)
    supervision.begin_insertion()
    tilted = AXIS + np.tan(np.deg2rad(2.0)) * SIDE
    tilted /= np.linalg.norm(tilted)
    for drift, expected in ((0.0, None), (4.0, "beside")):
        supervision.begin_insertion()
        found = None
        for k in range(600):
            time = 0.02 * k + (100.0 if drift else 0.0)
            way = 8.0 * 0.02 * k
            noise = 0.15 * rng.standard_normal(3)
            reading = CameraReading(
                time, way * tilted + drift * max(0.0, k - 200) / 400.0 * SIDE + noise, tilted, np.zeros(3)
            )
            sample = SensorSample(time, np.zeros(3))
            alarm = supervision.watch(time, [sample], reading, way * AXIS, AXIS, RIGHT, RIGHT, k < 100)
            found = found or (alarm.reason if alarm is not None else None)
        assert found is None if expected is None else found is not None and expected in found
