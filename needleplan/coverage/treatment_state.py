"""How far a treatment has come: needles where they really stand, what they have delivered, what is still due."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.plan import Ablation, Insertion, vector3

#: Needles and ablations that differ by less lie where they were planned: no measurement tells finer.
SAME_MM = 0.01
#: An entry farther than this from the entry surface does not lie on it: as rough as segmentation and measurement.
_ON_SURFACE_MM = 5.0
#: Shorter needles are none.
_LEAST_LENGTH_MM = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredNeedle:
    """A needle that stands in the patient, as it was measured.

    Attributes:
        order: its place in the plan.
        entry_mm: (3,) where its axis passes the entry surface, patient LPS.
        tip_mm: (3,) its tip.
    """

    order: int
    entry_mm: FloatArray
    tip_mm: FloatArray

    def __post_init__(self) -> None:
        for name in ("entry_mm", "tip_mm"):
            value = read_only(getattr(self, name))
            if value.shape != (3,) or not np.isfinite(value).all():
                raise GeometryError(
                    f"entry and tip of measured needle {self.order} must be three finite numbers each"
                )
            object.__setattr__(self, name, value)
        if np.linalg.norm(self.tip_mm - self.entry_mm) < _LEAST_LENGTH_MM:
            raise GeometryError(f"entry and tip of measured needle {self.order} must lie apart")

    @classmethod
    def of(cls, insertion: Insertion) -> "MeasuredNeedle":
        """The needle of an insertion that was carried out, for instance in a rehearsal."""
        return cls(insertion.order, np.asarray(insertion.entry_mm), np.asarray(insertion.tip_mm))

    @property
    def direction(self) -> FloatArray:
        """(3,) unit vector from entry to tip."""
        return unit_vector(self.tip_mm - self.entry_mm)

    def carrying(self, ablations: Sequence[Ablation], applicator: str) -> Insertion:
        """The insertion of this needle with ablations along it."""
        return Insertion(
            vector3(self.entry_mm), vector3(self.tip_mm), applicator, tuple(ablations), order=self.order
        )


@dataclass(frozen=True, slots=True)
class NeedleDeviation:
    """Where a needle stands against its plan.

    Attributes:
        tip_mm: distance of the tips.
        lateral_mm: part of it across the planned axis.
        depth_mm: part along that axis, positive too deep.
        angle_deg: angle of the axes.
    """

    tip_mm: float
    lateral_mm: float
    depth_mm: float
    angle_deg: float

    @classmethod
    def of(cls, planned: Insertion, needle: MeasuredNeedle) -> "NeedleDeviation":
        """The deviation of a needle from its insertion."""
        offset = needle.tip_mm - np.asarray(planned.tip_mm)
        depth = float(offset @ planned.direction)
        cross = float(np.linalg.norm(np.cross(planned.direction, needle.direction)))
        return cls(
            float(np.linalg.norm(offset)),
            float(np.linalg.norm(offset - depth * planned.direction)),
            depth,
            float(np.degrees(np.arctan2(cross, planned.direction @ needle.direction))),
        )


@dataclass(frozen=True, slots=True, eq=False)
class TreatmentState:
    """A plan that is being carried out.

    Attributes:
        planned: all of its insertions, in their order.
        measured: needles that stand in the patient.
        delivered: insertions with the ablations that were delivered, where they were; their orders tell the needles
            of the plan that made them, and others count as zones alone.
    """

    planned: tuple[Insertion, ...]
    measured: tuple[MeasuredNeedle, ...]
    delivered: tuple[Insertion, ...]

    def __post_init__(self) -> None:
        orders = [insertion.order for insertion in self.planned]
        if len(set(orders)) < len(orders):
            raise OptionError(f"two insertions of the plan have the same order: {sorted(orders)}")
        seen = [needle.order for needle in self.measured]
        if len(set(seen)) < len(seen):
            raise OptionError(f"a needle is measured twice: {sorted(seen)}")
        for order in seen:
            if order not in orders:
                there = ", ".join(map(str, sorted(orders))) or "none"
                raise OptionError(
                    f"needle {order} was measured, but the plan has no such needle: there are {there}"
                )

    def require_within(self, queries: AnatomyQueries) -> None:
        """Raise GeometryError where a measured needle cannot be one in this patient."""
        distance = queries.distance(queries.anatomy.entry)
        for needle in self.measured:
            off_mm, deep_mm = distance.signed_distance_mm([needle.entry_mm, needle.tip_mm]).tolist()
            if deep_mm > 0:
                raise GeometryError(
                    f"the tip of measured needle {needle.order} lies {deep_mm:.1f} mm outside the body: state tip "
                    "and entry in patient LPS mm"
                )
            if abs(off_mm) > _ON_SURFACE_MM:
                raise GeometryError(
                    f"the entry of measured needle {needle.order} lies {abs(off_mm):.1f} mm off the entry surface: "
                    "state where its axis passes that surface, in patient LPS mm"
                )

    def require_carrying(self, tip_to_centre_mm: float) -> None:
        """Raise GeometryError where a measured needle is not deep enough for the middle of a zone to lie within."""
        for needle in self.measured:
            depth_mm = float(np.linalg.norm(needle.tip_mm - needle.entry_mm))
            if depth_mm < tip_to_centre_mm + _LEAST_LENGTH_MM:
                raise GeometryError(
                    f"measured needle {needle.order} stands only {depth_mm:.1f} mm deep: the middle of its zone, "
                    f"{tip_to_centre_mm:.1f} mm behind the tip, lies outside the body; push it on, or take it out "
                    "and plan again without it"
                )

    @property
    def waiting(self) -> tuple[Insertion, ...]:
        """Insertions of the plan that were not begun."""
        begun = {needle.order for needle in self.measured} | {one.order for one in self.delivered}
        return tuple(insertion for insertion in self.planned if insertion.order not in begun)

    def planned_of(self, order: int) -> Insertion:
        """The insertion of an order."""
        return next(insertion for insertion in self.planned if insertion.order == order)

    def due(self, needle: MeasuredNeedle) -> tuple[Ablation, ...]:
        """Planned ablations of a needle that were not delivered, as far behind its tip as they were planned.

        Each delivered ablation of the needle stands for the planned one nearest to it.
        """
        moved = self._moved(needle)
        return tuple(moved[k] for k in self._due(needle.order, moved))

    @property
    def as_planned(self) -> tuple[Insertion, ...]:
        """What is left of the plan: due ablations along the needles where they stand, and waiting insertions."""
        standing = [(needle, self.due(needle)) for needle in self.measured]
        return (
            *(
                needle.carrying(ablations, self.planned_of(needle.order).applicator)
                for needle, ablations in standing
                if ablations
            ),
            *self.waiting,
        )

    @property
    def untouched(self) -> tuple[Insertion, ...]:
        """What is left of the plan in its own words: for a treatment that does not deviate."""
        left = []
        for needle in self.measured:
            planned = self.planned_of(needle.order)
            due = self._due(needle.order, planned.ablations)
            if due:
                left.append(dataclasses.replace(planned, ablations=tuple(planned.ablations[k] for k in due)))
        return (*left, *self.waiting)

    @property
    def deviates(self) -> bool:
        """True where a needle or a delivered ablation is not as planned, or a needle was drawn out too early."""
        for needle in self.measured:
            planned = self.planned_of(needle.order)
            gaps = np.subtract([needle.entry_mm, needle.tip_mm], [planned.entry_mm, planned.tip_mm])
            if np.linalg.norm(gaps, axis=1).max() > SAME_MM:
                return True
        known = {insertion.order: insertion for insertion in self.planned}
        if any(
            insertion.order not in known
            or not any(same_ablation(ablation, other) for other in known[insertion.order].ablations)
            for insertion in self.delivered
            for ablation in insertion.ablations
        ):
            return True
        out = {one.order for one in self.delivered} - {needle.order for needle in self.measured}
        return any(self._due(order, known[order].ablations) for order in out)

    def _moved(self, needle: MeasuredNeedle) -> tuple[Ablation, ...]:
        planned = self.planned_of(needle.order)
        return tuple(
            Ablation(
                vector3(needle.tip_mm - behind_mm(planned, ablation) * needle.direction),
                ablation.power_w,
                ablation.duration_s,
            )
            for ablation in planned.ablations
        )

    def _due(self, order: int, moved: Sequence[Ablation]) -> list[int]:
        """Numbers of the ablations of a needle, where they would be made, that were not delivered."""
        left = list(range(len(moved)))
        for insertion in self.delivered:
            for ablation in insertion.ablations if insertion.order == order else ():
                gaps = [float(np.linalg.norm(np.subtract(moved[k].tip_mm, ablation.tip_mm))) for k in left]
                if gaps:
                    del left[int(np.argmin(gaps))]
        return left


def behind_mm(insertion: Insertion, ablation: Ablation) -> float:
    """How far an ablation's tip lies behind the insertion's, along the needle; negative in front of it."""
    return float(np.subtract(insertion.tip_mm, ablation.tip_mm) @ insertion.direction)


def same_ablation(one: Ablation, other: Ablation) -> bool:
    """True for ablations of one setting whose tips differ by no more than a measurement tells."""
    near = float(np.linalg.norm(np.subtract(one.tip_mm, other.tip_mm))) <= SAME_MM
    return near and one.power_w == other.power_w and one.duration_s == other.duration_s
