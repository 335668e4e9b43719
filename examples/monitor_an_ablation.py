"""Follow a microwave ablation by temperatures: what perfusion and efficiency must be, and how long it still takes.

    python examples/monitor_an_ablation.py

A made-up patient has another perfusion and another efficiency than the plan believes. Three thermocouples and,
later, an MR volume tell. Everything here is synthetic: the "patient" is a run of the same solver with noise on top.
"""

import argparse

import numpy as np

from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.heating import HeatOptions
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.monitoring.monitor import AblationMonitor
from needleplan.ablation.monitoring.readings import TemperatureReadings, thermocouple, thermometry_volume
from needleplan.ablation.monitoring.runs import TreatmentRuns
from needleplan.ablation.monitoring.sampling import footprint_values
from needleplan.ablation.monitoring.state import Estimate, MonitorState
from needleplan.ablation.monitoring.treatment import Factors, RecordedCourse, Treatment
from needleplan.ablation.tissue_map import homogeneous
from needleplan.devices.tissues import builtin_tissues
from needleplan.frames import perpendicular_axes
from needleplan.grid import Grid, ScalarField
from needleplan.plan import Ablation, Insertion

TIP_MM = (3.0, -2.0, 5.0)
#: 60 W for 4 minutes, at an angle to every axis.
NEEDLE = Insertion((40.0, -60.0, -70.0), TIP_MM, "generic-mwa-2450", (Ablation(TIP_MM, 60.0, 240.0),))
MIDDLE_MM = np.array(TIP_MM) - 10.0 * NEEDLE.direction
ASIDE, BESIDE = perpendicular_axes(NEEDLE.direction)
COUPLES_MM = (MIDDLE_MM + 8.0 * ASIDE, MIDDLE_MM + 10.0 * BESIDE, MIDDLE_MM - 9.0 * ASIDE - 3.0 * NEEDLE.direction)
NOISE_C, MR_NOISE_C = 0.5, 1.0


def main(truth: Factors | None = None, seed: int = 4, spacing_mm: float = 3.0) -> MonitorState:
    """Plan, monitor and compare with what the made-up patient really had."""
    truth = truth or Factors(perfusion=0.5, efficiency=0.88)
    liver = builtin_tissues().tissue("liver")
    treatment = Treatment(
        MicrowaveModel,
        (NEEDLE,),
        homogeneous(liver),
        HeatOptions(spacing_mm=spacing_mm, reach_mm=27.0, observe_every_s=10.0),
    )
    runs = TreatmentRuns(treatment, counts=(4, 3, 2))
    target_mm = MIDDLE_MM + 3.0 * np.random.default_rng(0).uniform(-1.0, 1.0, (40, 3))
    monitor = AblationMonitor(runs, target=target_mm, margin_mm=7.0)
    print(f"planned: {NEEDLE.ablations[0].power_w:g} W for {runs.planned_s:g} s")
    told("before", monitor.state())

    patient = treatment.recorded(truth)
    rng = np.random.default_rng(seed)
    third, half = runs.planned_s / 3.0, runs.planned_s / 2.0
    told("after a third", monitor.update(*couple_readings(patient, rng, 8.0, third)))
    state = monitor.update(*couple_readings(patient, rng, third + 4.0, half), mr_volume(patient, rng, half))
    told("after half, with an MR volume", state)

    zone = FieldZone(ScalarField(patient.grid, patient.end_level.reshape(patient.grid.shape)))
    print(
        f"the patient had perfusion {truth.perfusion:.2f}, efficiency {truth.efficiency:.2f} and a zone of "
        f"{zone.volume_ml:.1f} ml"
    )
    return state


def told(when: str, state: MonitorState) -> None:
    """Print a state."""
    print(f"{when} ({state.now_s:.0f} s, {state.readings} readings):")
    for name, estimate in (*state.factors.items(), ("end zone", state.volume), ("still needed", state.time_needed)):
        if estimate is not None:
            print(f"  {name}: {words(estimate)}")
    if state.chance_of_success is not None:
        print(f"  target and margin lethal by the planned end: {100 * state.chance_of_success:.0f} %")
    for one in state.evidence:
        print(f"  {one.subject}: {one.finding}")


def words(estimate: Estimate) -> str:
    """An estimate in words."""
    unit = "" if estimate.unit == "1" else f" {estimate.unit}"
    digits = 2 if estimate.unit == "1" else 1
    return f"{estimate.central:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f}){unit}"


def couple_readings(
    patient: RecordedCourse, rng: np.random.Generator, start_s: float, end_s: float
) -> list[TemperatureReadings]:
    """What three thermocouples read, one of which lies a little beside its stated place."""
    times = np.arange(start_s, end_s + 0.1, 4.0)
    readings = []
    for number, place in enumerate(COUPLES_MM):
        aside = 0.5 * ASIDE if number == 1 else np.zeros(3)
        at = np.tile(place + aside, (len(times), 1))
        true = footprint_values(
            patient.grid, patient.times_s, patient.temperature_c[None], at, np.zeros((1, 3)), times
        )[:, 0]
        values = true + NOISE_C * rng.standard_normal(len(times))
        readings.append(thermocouple(f"couple {number + 1}", place, times, values, NOISE_C))
    return readings


def mr_volume(patient: RecordedCourse, rng: np.random.Generator, time_s: float) -> TemperatureReadings:
    """A volume of 1.5 by 1.5 by 4 mm voxels in patient axes, without signal within 5 mm of the antenna."""
    shape, spacing = (24, 24, 9), np.array([1.5, 1.5, 4.0])
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = MIDDLE_MM - 0.5 * spacing * (np.array(shape) - 1)
    grid = Grid(shape, matrix)
    offset = grid.centres_mm() - MIDDLE_MM
    across = np.linalg.norm(offset - np.outer(offset @ NEEDLE.direction, NEEDLE.direction), axis=1)
    signal = (across > 5.0).reshape(shape)
    # A voxel shows the mean over itself, and so does the one that the noise goes on.
    field = ScalarField(grid, np.full(shape, 37.0, dtype=np.float32))
    voxels = thermometry_volume("MR", field, time_s, MR_NOISE_C, signal)
    true = footprint_values(
        patient.grid,
        patient.times_s,
        patient.temperature_c[None],
        voxels.points_mm,
        voxels.footprint_mm,
        voxels.times_s,
    )[:, 0]
    values = np.full(shape, np.nan, dtype=np.float32)
    values[signal] = true + MR_NOISE_C * rng.standard_normal(len(true))
    return thermometry_volume("MR", ScalarField(grid, values), time_s, MR_NOISE_C, signal)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
