"""Hard constraints applied to a table, and the default set of them."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role
from needleplan.errors import OptionError
from needleplan.trajectory.constraints.clearance import LARGEST_LIMIT_MM, Clearance
from needleplan.trajectory.constraints.organ_path import OrganPath
from needleplan.trajectory.constraints.robot_reach import RobotReach
from needleplan.trajectory.constraints.single_skin_crossing import SingleSkinCrossing
from needleplan.trajectory.constraints.skin_angle import SkinAngle
from needleplan.trajectory.constraints.table_side import TableSide
from needleplan.trajectory.constraints.usable_length import UsableLength
from needleplan.trajectory.contract import Reachability, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import TrajectoryTable


@dataclass(frozen=True, slots=True)
class PathLimits:
    """Limits of the hard constraints.

    The clearances are this library's own starting values: a few millimetres where a graze bleeds, more where a
    perforation is an emergency. A structure's own ``clearance_mm`` in the case overrides them.

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

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            most = LARGEST_LIMIT_MM if item.name.endswith("_mm") and item.name != "organ_path_mm" else 180.0
            if not 0 <= value <= most:
                name = item.name.removesuffix("_mm").replace("_", " ")
                kind = "clearance to " if most == LARGEST_LIMIT_MM else "limit "
                raise OptionError(f"the {kind}{name} must be between 0 and {most:g}, not {value:g}")

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
    queries: AnatomyQueries, limits: PathLimits | None = None, reachability: Reachability | None = None
) -> tuple[TrajectoryConstraint, ...]:
    """The hard constraints of a case: length, skin, table, and a clearance to each obstacle.

    Raises:
        OptionError: a limit is impossible, or organ before the target is asked for where no organ holds it.
    """
    limits = limits or PathLimits()
    constraints: list[TrajectoryConstraint] = [
        UsableLength(),
        SkinAngle(limits.skin_angle_deg),
        TableSide(limits.table_angle_deg),
        SingleSkinCrossing(),
    ]
    for surface in queries.anatomy.obstacles:
        own = surface.clearance_mm
        constraints.append(Clearance(surface, limits.clearance_mm(surface.role) if own is None else own))
    if not 0 <= limits.organ_path_mm < 200:
        raise OptionError(f"the organ path must be between 0 and 200 mm, not {limits.organ_path_mm:g}")
    if limits.organ_path_mm > 0:
        organ = queries.host_organ
        if organ is None:
            raise OptionError(
                f"{limits.organ_path_mm:g} mm of organ before the target is asked for, but no organ of case "
                f"{queries.anatomy.case.name} holds the target"
            )
        constraints.append(OrganPath(organ, limits.organ_path_mm))
    if reachability is not None:
        constraints.append(RobotReach(reachability))
    return tuple(constraints)


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
    columns = []
    paths = MeasuredPaths(table, queries) if measured is None else measured.with_columns(table)
    for index, constraint in enumerate(constraints):
        if progress:
            progress(constraint.name, index / len(constraints))
        columns.append(constraint.evaluate(paths))
    if progress:
        progress("done", 1.0)
    return dataclasses.replace(table, constraints=(*table.constraints, *columns))
