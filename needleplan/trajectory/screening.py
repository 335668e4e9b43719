"""Constraints applied to a table, and the set of them that stated limits ask for."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role
from needleplan.errors import OptionError
from needleplan.trajectory.constraints.approach_side import ApproachSide, Side
from needleplan.trajectory.constraints.capsule_angle_limit import CapsuleAngleLimit
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.direct_puncture import SUBCAPSULAR_MM, DirectPuncture, target_depth_mm
from needleplan.trajectory.constraints.entry_region import EntryRegion
from needleplan.trajectory.constraints.entry_spacing import EntrySpacing
from needleplan.trajectory.constraints.gantry_bore import GantryBore
from needleplan.trajectory.constraints.guide_room import GuideRoom
from needleplan.trajectory.constraints.host_entries import HostEntries
from needleplan.trajectory.constraints.needle_distance import NeedleDistance
from needleplan.trajectory.constraints.organ_path import OrganPath
from needleplan.trajectory.constraints.out_of_plane_limit import OutOfPlaneLimit
from needleplan.trajectory.constraints.placed_needle import PlacedNeedle
from needleplan.trajectory.constraints.robot_reach import RobotReach
from needleplan.trajectory.constraints.single_skin_crossing import SingleSkinCrossing
from needleplan.trajectory.constraints.skin_angle import SkinAngle
from needleplan.trajectory.constraints.softened import Softened
from needleplan.trajectory.constraints.table_side import TableSide
from needleplan.trajectory.constraints.usable_length import UsableLength
from needleplan.trajectory.contract import Reachability, TrajectoryConstraint
from needleplan.trajectory.limit_ranges import LIMIT_RANGES, LIMITS_OF_OTHERS, SOFT_LIMITS, require_limit
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable


@dataclass(frozen=True, slots=True)
class PathLimits:
    """What is demanded of a path, and which demands only cost.

    The clearances are this library's own starting values: a few millimetres where a graze bleeds, more where a
    perforation is an emergency. A structure's own ``clearance_mm`` in the case overrides them. None is not asked
    for.

    Attributes:
        vessel_mm: needle surface to vessel.
        airway_mm: needle surface to airway.
        bone_mm: needle surface to bone.
        lung_mm: needle surface to lung.
        bowel_mm: needle surface to stomach and bowel.
        critical_mm: needle surface to other critical structures.
        no_go_mm: needle surface to regions the user forbids.
        skin_angle_deg: greatest angle from the perpendicular to the skin.
        table_angle_deg: greatest angle of the outward shaft from straight up off the table.
        organ_path_mm: least length of organ before the target; 0 does not ask for any.
        direct_puncture_mm: least length of organ before the target where that is subcapsular.
        subcapsular_mm: the target is subcapsular where its surface is nearer than this to the organ's.
        capsule_angle_deg: greatest angle from the perpendicular to the surface of the organ that holds the target.
        host_entries: greatest number of passages into the structure that holds the target. Where that is a bone
            or a lung, no clearance from it is demanded then, whatever the case states: it must be passed into to
            reach the target.
        out_of_plane_deg: greatest angle out of the axial plane.
        approach_side: side of the patient that the shaft outside points to, a value of ``Side``.
        approach_angle_deg: greatest angle of the outward shaft from that side.
        bore_radius_mm: radius of the scanner's bore, into which patient, needle and guide go together.
        bore_axis_above_table_mm: height of its axis over the lowest skin; None centres the patient.
        guide_radius_mm: radius of a needle guide that stands above the skin.
        guide_length_mm: length of that guide.
        guide_standoff_mm: distance of its near end from the entry, along the needle.
        entry_spacing_mm: least distance to the entries of needles already placed.
        needle_distance_mm: least distance, surface to surface, to needles already placed.
        soft: names of the limits, separated by commas, that only cost; any of ``SOFT_LIMITS``.
    """

    vessel_mm: float = 2.0
    airway_mm: float = 2.0
    bone_mm: float = 2.0
    lung_mm: float = 5.0
    bowel_mm: float = 5.0
    critical_mm: float = 5.0
    no_go_mm: float = 0.0
    skin_angle_deg: float = 65.0
    table_angle_deg: float = 90.0
    organ_path_mm: float = 0.0
    direct_puncture_mm: float | None = None
    subcapsular_mm: float = SUBCAPSULAR_MM
    capsule_angle_deg: float | None = None
    host_entries: int | None = None
    out_of_plane_deg: float | None = None
    approach_side: str | None = None
    approach_angle_deg: float = 90.0
    bore_radius_mm: float | None = None
    bore_axis_above_table_mm: float | None = None
    guide_radius_mm: float | None = None
    guide_length_mm: float = 60.0
    guide_standoff_mm: float = 20.0
    entry_spacing_mm: float | None = None
    needle_distance_mm: float | None = None
    soft: str = ""

    def __post_init__(self) -> None:
        default = {item.name: item.default for item in dataclasses.fields(self)}
        for name in LIMIT_RANGES:
            require_limit(name, getattr(self, name), optional=default[name] is None)
        sides = [side.value for side in Side]
        if self.approach_side is not None and self.approach_side not in sides:
            raise OptionError(f"the approach side must be one of {', '.join(sides)}, not {self.approach_side!r}")
        for name, other in LIMITS_OF_OTHERS.items():
            if getattr(self, name) != default[name] and getattr(self, other) is None:
                raise OptionError(f"the limit {name} says nothing without {other}: state that too, or leave it out")
        if not isinstance(self.soft, str):
            raise OptionError(f"soft must be a text of names of limits, separated by commas, not {self.soft!r}")
        for name in self.soft_names:
            if name not in SOFT_LIMITS:
                raise OptionError(f"{name!r} is no limit that can be soft: those are {', '.join(SOFT_LIMITS)}")
            needed = LIMITS_OF_OTHERS.get(name, name)
            if getattr(self, needed) is None:
                raise OptionError(f"the limit {name} cannot be soft as it is not asked for: state {needed} too")

    @property
    def soft_names(self) -> tuple[str, ...]:
        """The limits that only cost."""
        return tuple(name.strip() for name in self.soft.split(",") if name.strip())

    def clearance_mm(self, role: Role) -> float:
        """Default clearance to structures of a role."""
        return {
            Role.VESSEL: self.vessel_mm,
            Role.AIRWAY: self.airway_mm,
            Role.BONE: self.bone_mm,
            Role.LUNG: self.lung_mm,
            Role.BOWEL: self.bowel_mm,
            Role.CRITICAL: self.critical_mm,
            Role.NO_GO: self.no_go_mm,
        }[role]


def default_constraints(
    queries: AnatomyQueries,
    limits: PathLimits | None = None,
    reachability: Reachability | None = None,
    placed: Sequence[PlacedNeedle] = (),
) -> tuple[TrajectoryConstraint, ...]:
    """The constraints of a case: length, skin, table, a clearance to each obstacle, and what the limits ask for.

    Distances to placed needles are demanded where there are any. Whether a path can satisfy all of them is for the
    screening to find and for the explanation to tell; only what no patient's shape could mend is refused here.

    Args:
        queries: the anatomy.
        limits: what is demanded; the defaults where None.
        reachability: the robot's answer, if paths must be reachable.
        placed: needles that stand in the patient.

    Raises:
        OptionError: a limit is impossible, two of them contradict each other, a demand on the structure that holds
            the target is made where none holds it, or the patient does not fit into the bore.
    """
    limits = limits or PathLimits()
    asked = _Asked(limits)
    _refuse_contradictions(queries, limits)
    host = _host(queries, limits)
    asked.hard(UsableLength())
    asked.add("skin_angle_deg", SkinAngle(limits.skin_angle_deg))
    asked.add("table_angle_deg", TableSide(limits.table_angle_deg))
    asked.hard(SingleSkinCrossing())
    if queries.anatomy.with_role(Role.ENTRY_REGION):
        asked.hard(EntryRegion(queries.anatomy))
    for surface in queries.anatomy.obstacles:
        if limits.host_entries is not None and surface is host:
            continue
        own = surface.clearance_mm
        clearance = Clearance(surface, limits.clearance_mm(surface.role) if own is None else own)
        asked.add(f"{surface.role.value}_mm", clearance)
    if host is not None:
        _ask_of_host(asked, queries, host)
    if limits.out_of_plane_deg is not None:
        asked.add("out_of_plane_deg", OutOfPlaneLimit(limits.out_of_plane_deg))
    if limits.approach_side is not None:
        side = ApproachSide(Side(limits.approach_side), limits.approach_angle_deg)
        asked.add("approach_angle_deg", side)
    guide = None
    if limits.guide_radius_mm is not None:
        guide = GuideRoom(limits.guide_radius_mm, limits.guide_length_mm, limits.guide_standoff_mm)
    if limits.bore_radius_mm is not None:
        bore = GantryBore.about(queries, limits.bore_radius_mm, limits.bore_axis_above_table_mm, guide)
        asked.add("bore_radius_mm", bore)
    if guide is not None:
        asked.add("guide_radius_mm", guide)
    if placed and limits.entry_spacing_mm is not None:
        asked.add("entry_spacing_mm", EntrySpacing(placed, limits.entry_spacing_mm))
    if placed and limits.needle_distance_mm is not None:
        asked.add("needle_distance_mm", NeedleDistance(placed, limits.needle_distance_mm))
    if reachability is not None:
        asked.hard(RobotReach(reachability))
    return tuple(asked.constraints)


class _Asked:
    """Constraints as they are gathered, softened where the limits say so."""

    def __init__(self, limits: PathLimits) -> None:
        self.limits = limits
        self.constraints: list[TrajectoryConstraint] = []

    def hard(self, constraint: TrajectoryConstraint) -> None:
        self.constraints.append(constraint)

    def add(self, limit: str, constraint: TrajectoryConstraint) -> None:
        self.constraints.append(Softened(constraint) if limit in self.limits.soft_names else constraint)


def _ask_of_host(asked: _Asked, queries: AnatomyQueries, host: StructureSurface) -> None:
    """What the limits demand of the path through the structure that holds the target."""
    limits = asked.limits
    if limits.organ_path_mm > 0:
        asked.add("organ_path_mm", OrganPath(host, limits.organ_path_mm))
    if limits.direct_puncture_mm is not None:
        depth_mm = target_depth_mm(queries, host, max(limits.subcapsular_mm, 1.0))
        puncture = DirectPuncture(host, limits.direct_puncture_mm, depth_mm, limits.subcapsular_mm)
        asked.add("direct_puncture_mm", puncture)
    if limits.capsule_angle_deg is not None:
        asked.add("capsule_angle_deg", CapsuleAngleLimit(host, limits.capsule_angle_deg))
    if limits.host_entries is not None:
        asked.add("host_entries", HostEntries(host, limits.host_entries))


def _host(queries: AnatomyQueries, limits: PathLimits) -> StructureSurface | None:
    """The structure that holds the target: an organ, or a bone or lung where those may be passed into.

    Raises:
        OptionError: something is demanded of it but there is none.
    """
    asked = [
        name for name in ("direct_puncture_mm", "capsule_angle_deg", "host_entries")
        if getattr(limits, name) is not None
    ]  # fmt: skip
    if limits.organ_path_mm > 0:
        asked.append("organ_path_mm")
    if not asked:
        return None
    roles, host = "organ", queries.host_organ
    if limits.host_entries is not None:
        roles = "organ, bone or lung"
        share = 0.0 if host is None else _share_held(queries, host)
        for surface in queries.anatomy.with_role(Role.BONE, Role.LUNG):
            held = _share_held(queries, surface)
            # Most of it, or a tumour that only touches a rib would open the rib.
            if held > max(share, 0.5):
                host, share = surface, held
    if host is None:
        words = asked[0].removesuffix("_mm").removesuffix("_deg").replace("_", " ")
        raise OptionError(
            f"the limit {words} concerns the structure that holds the target, but no {roles} of case "
            f"{queries.anatomy.case.name} holds it: leave the limit out or add the structure"
        )
    return host


def _share_held(queries: AnatomyQueries, surface: StructureSurface) -> float:
    """Share of the target's surface that lies inside a structure."""
    points = queries.anatomy.target.mesh.vertices_mm
    return float(queries.distance(surface).contains(points[:: max(1, len(points) // 500)]).mean())


def _refuse_contradictions(queries: AnatomyQueries, limits: PathLimits) -> None:
    """Raises OptionError where two hard limits leave no direction at all, whatever the patient's shape."""
    if limits.approach_side is None or {"table_angle_deg", "approach_angle_deg"} & set(limits.soft_names):
        return
    case = queries.anatomy.case
    # The shaft lies within one angle of one direction and within another of the other: two cones about the entry
    # share a direction only where their angles reach from axis to axis.
    cosine = float(case.up @ Side(limits.approach_side).direction(case))
    apart = float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    if limits.table_angle_deg + limits.approach_angle_deg < apart - 1e-9:
        raise OptionError(
            f"no shaft is both at most {limits.table_angle_deg:g} degrees from straight up and at most "
            f"{limits.approach_angle_deg:g} degrees from the patient's {limits.approach_side} side, which lie "
            f"{apart:.0f} degrees apart: widen one of the two"
        )


def screen(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    constraints: Sequence[TrajectoryConstraint],
    progress: Callable[[str, float], None] | None = None,
    measured: MeasuredPaths | None = None,
) -> TrajectoryTable:
    """The table with one column more for each constraint; no row is dropped.

    Args:
        table: the candidates.
        queries: the anatomy.
        constraints: what is demanded of them.
        progress: called with the name of each constraint and the fraction done.
        measured: measurements of these paths that may exist already.

    Raises:
        OptionError: two constraints have the same name.
    """
    names = [constraint.name for constraint in constraints]
    if len(set(names)) < len(names):
        raise OptionError(f"two constraints have the same name: {sorted(names)}")
    columns: dict[str, ConstraintColumn] = {}
    paths = MeasuredPaths(table, queries) if measured is None else measured.with_columns(table)
    for index, constraint in enumerate(sorted(constraints, key=lambda constraint: constraint.asked_last)):
        if progress:
            progress(constraint.name, index / len(constraints))
        if constraint.asked_last:
            rows = _satisfying((*table.constraints, *columns.values()), len(table))
            columns[constraint.name] = _of_rows(constraint.evaluate(paths.of_rows(rows)), rows, len(table))
        else:
            columns[constraint.name] = constraint.evaluate(paths)
    if progress:
        progress("done", 1.0)
    in_order = (columns[constraint.name] for constraint in constraints)
    return dataclasses.replace(table, constraints=(*table.constraints, *in_order))


def _satisfying(columns: Sequence[ConstraintColumn], count: int) -> NDArray[np.int64]:
    """Rows that satisfy every hard one of some columns."""
    passed = np.ones(count, dtype=np.bool_)
    for column in columns:
        if column.hard:
            passed &= column.passed
    return np.flatnonzero(passed)


def _of_rows(column: ConstraintColumn, rows: NDArray[np.int64], count: int) -> ConstraintColumn:
    """The column of all rows where only some were measured; the others get the limit."""
    values = np.full(count, column.limit)
    values[rows] = column.values
    return dataclasses.replace(column, values=values)
