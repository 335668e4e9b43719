"""How the zones grow, delivery by delivery, by the zone table's own sizes at shorter times."""

import dataclasses
from dataclasses import dataclass

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.volume import zone_volume_ml
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.app.page.scene_meshes import lightened
from needleplan.plan import Ablation, Insertion, Plan
from needleplan.viz.scene import union_surface

#: Surfaces of zones lie within this of the model's.
ZONE_BOUND_MM = 0.12
#: No more moments than these are drawn; each delivery then shows fewer of its table's times.
MOST_MOMENTS = 24


@dataclass(frozen=True, slots=True, eq=False)
class GrowthMoment:
    """What is destroyed at one moment of the treatment.

    Attributes:
        label: the delivery and its time.
        time_s: time that energy has flowed, all deliveries so far together.
        volume_ml: volume of the zones so far.
        surface: their outer surface, light.
        fine: the same as it is.
    """

    label: str
    time_s: float
    volume_ml: float
    surface: SurfaceMesh
    fine: SurfaceMesh


def growth_moments(plan: Plan, model: EllipsoidTableModel) -> tuple[GrowthMoment, ...]:
    """The zones after every time of the table, the deliveries one after the other in the order of puncture.

    A zone is taken to have, after part of its time, the size that the table states for that time at the same power.
    Between the times of the table nothing is drawn.
    """
    deliveries = [
        (insertion, number, ablation)
        for insertion in sorted(plan.insertions, key=lambda one: one.order)
        for number, ablation in enumerate(insertion.ablations, start=1)
    ]
    moments: list[GrowthMoment] = []
    done: list[Insertion] = []
    before_s = 0.0
    for insertion, number, ablation in deliveries:
        most = max(1, MOST_MOMENTS // len(deliveries))
        for time_s in _times(insertion, ablation, model, most):
            part = _alone(insertion, dataclasses.replace(ablation, duration_s=time_s))
            zone = model.zone([*done, part])
            fine = union_surface(zone)
            many = f".{number}" if len(insertion.ablations) > 1 else ""
            moments.append(
                GrowthMoment(
                    f"needle {insertion.order}{many}, {_clock(time_s)} of {_clock(ablation.duration_s)} min",
                    before_s + time_s,
                    zone_volume_ml(zone),
                    lightened(fine, ZONE_BOUND_MM).mesh,
                    fine,
                )
            )
        done.append(_alone(insertion, ablation))
        before_s += ablation.duration_s
    return tuple(moments)


def growth_note(plan: Plan, model: EllipsoidTableModel) -> str:
    """What the moments rest on, and what they leave out."""
    words = (
        f"Zones by {model.name}: each delivery with the sizes that its table states for shorter times at the same "
        "power, one delivery after the other in the order of puncture. Between the times of the table nothing is "
        "drawn."
    )
    if plan.physics is not None:
        words += (
            f" The solver ({plan.physics.model}) was asked for the end of the treatment alone, so its zones are "
            "not among these moments; what it says of coverage and margin stands in the section on physics."
        )
    return words


def _times(insertion: Insertion, ablation: Ablation, model: EllipsoidTableModel, most: int) -> tuple[float, ...]:
    """Times of the table before the delivery's end, and the end; at most ``most``, the last ones evenly kept."""
    table = model.table(insertion.applicator)
    times = [float(t) for t in table.durations_s if t < ablation.duration_s * (1.0 - 1e-9)]
    kept = times if len(times) < most else [times[round(k * len(times) / most)] for k in range(most - 1)]
    return (*kept, ablation.duration_s)


def _alone(insertion: Insertion, ablation: Ablation) -> Insertion:
    return dataclasses.replace(insertion, ablations=(ablation,))


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes}:{seconds:02d}"
