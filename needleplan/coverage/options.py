"""What a coverage must achieve, what is offered to it, and which goal comes before which."""

from dataclasses import dataclass
from enum import StrEnum

from needleplan.case.model import Role
from needleplan.coverage.region import LARGEST_MARGIN_MM
from needleplan.errors import OptionError


class Level(StrEnum):
    """A goal; each is pursued as far as those before it allow."""

    INSERTIONS = "insertions"  #: fewest punctures
    ABLATIONS = "ablations"  #: fewest deliveries of energy
    TIME = "time"  #: least time of energy, one delivery after the other
    MARGIN = "margin"  #: largest least margin, up to the one wanted
    SPARED = "spared"  #: least healthy tissue and safest paths


#: The order of goals unless another is asked for.
DEFAULT_LEVELS = "insertions, ablations, margin, spared"


@dataclass(frozen=True, slots=True)
class ThermalMargins:
    """Distance that the lethal zone keeps from structures which it must not harm.

    Five millimetres are the least distance at which burns of bowel and gallbladder are usually feared in thermal
    ablation; it is taken here as an assumption of this library, not as a published limit. Vessels are left to their
    flow, which cools them; bone, lung and airways are often treated up to or into. None does not ask for any.

    Attributes:
        critical_mm: critical structures (gallbladder, heart, nerves).
        bowel_mm: stomach and bowel.
        airway_mm: airways.
        lung_mm: lungs that do not hold the target.
        vessel_mm: vessels.
        bone_mm: bones that do not hold the target.
        skin_mm: the entry surface: no zone may come so near to the skin.
    """

    critical_mm: float | None = 5.0
    bowel_mm: float | None = 5.0
    airway_mm: float | None = None
    lung_mm: float | None = None
    vessel_mm: float | None = None
    bone_mm: float | None = None
    skin_mm: float | None = 0.0

    def __post_init__(self) -> None:
        for role in (*_ROLES, Role.SKIN):
            value = self.of_role(role)
            if value is not None and not 0 <= value <= 50:
                raise OptionError(f"the thermal margin of {role} must be between 0 and 50 mm, not {value:g}")

    def of_role(self, role: Role) -> float | None:
        """Margin of the structures of a role; None where none is asked for."""
        if role is Role.SKIN:
            return self.skin_mm
        return _ROLES[role](self) if role in _ROLES else None


_ROLES = {
    Role.CRITICAL: lambda margins: margins.critical_mm,
    Role.BOWEL: lambda margins: margins.bowel_mm,
    Role.AIRWAY: lambda margins: margins.airway_mm,
    Role.LUNG: lambda margins: margins.lung_mm,
    Role.VESSEL: lambda margins: margins.vessel_mm,
    Role.BONE: lambda margins: margins.bone_mm,
}


@dataclass(frozen=True, slots=True)
class CoverageOptions:
    """What is offered to the coverage solver, and what it must cover.

    Attributes:
        margin_mm: margin about the target that must be covered.
        wanted_margin_mm: margin towards which the level ``margin`` and the refinement go on; no less than
            ``margin_mm``. None stops at ``margin_mm``.
        levels: goals in their order, separated by commas: ``Level``; the first is ``insertions``, and ``spared``
            can only be the last.
        maximum_insertions: no more punctures than this.
        needles_at_once: needles that may stand in the patient together; 1 draws each out before the next, None lets
            all of them stand.
        paths_per_aim: feasible paths offered for each aim, cheapest first.
        path_separation_deg: paths to one aim differ by at least this angle.
        pull_back_mm: distance between ablations along one path.
        setting_count: sizes of ablation offered, from the table's largest downward.
        point_count: about this many balls stand for the boundary of target plus margin.
        least_organ_fraction: share of the organ that holds the target which no zone may take; None asks for none.
        time_limit_s: time that each exact search may take.
        most_nodes: nodes of the search tree of each exact search, which end it at the same place on every machine;
            None sets no limit.
    """

    margin_mm: float = 5.0
    wanted_margin_mm: float | None = None
    levels: str = DEFAULT_LEVELS
    maximum_insertions: int = 12
    needles_at_once: int | None = None
    paths_per_aim: int = 40
    path_separation_deg: float = 6.0
    pull_back_mm: float = 4.0
    setting_count: int = 8
    point_count: int = 20_000
    least_organ_fraction: float | None = None
    time_limit_s: float = 30.0
    most_nodes: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.margin_mm <= LARGEST_MARGIN_MM:
            raise OptionError(f"the margin must be between 0 and {LARGEST_MARGIN_MM:g} mm, not {self.margin_mm:g}")
        if not self.margin_mm <= self.wanted_mm <= LARGEST_MARGIN_MM:
            raise OptionError(
                f"the wanted margin must be between the margin, {self.margin_mm:g} mm, and "
                f"{LARGEST_MARGIN_MM:g} mm, not {self.wanted_mm:g}"
            )
        if min(self.maximum_insertions, self.paths_per_aim, self.setting_count, self.point_count) < 1:
            raise OptionError("numbers of insertions, paths, settings and points must be at least 1")
        if self.needles_at_once is not None and self.needles_at_once < 1:
            raise OptionError(f"at least one needle must be in the patient at once, not {self.needles_at_once}")
        if not (0.5 <= self.pull_back_mm <= 100 and 0 <= self.path_separation_deg <= 180):
            raise OptionError("pull-back must be 0.5 to 100 mm and path separation 0 to 180 degrees")
        if self.least_organ_fraction is not None and not 0 <= self.least_organ_fraction < 1:
            raise OptionError(
                f"the share of the organ that is left must be between 0 and 1, not {self.least_organ_fraction:g}"
            )
        if not 0 < self.time_limit_s <= 86_400:
            raise OptionError(f"the time limit must be above zero and at most a day, not {self.time_limit_s:g} s")
        if self.most_nodes is not None and self.most_nodes < 1:
            raise OptionError(f"an exact search needs at least one node, not {self.most_nodes}")
        if not self.order or self.order[0] is not Level.INSERTIONS:
            raise OptionError(f"the first of the levels must be insertions, not {self.levels!r}")
        if Level.SPARED in self.order[:-1]:
            raise OptionError(
                f"spared must be the last of the levels, as no later one keeps it, not {self.levels!r}"
            )
        if len(set(self.order)) < len(self.order):
            raise OptionError(f"a level is named twice in {self.levels!r}")

    @property
    def wanted_mm(self) -> float:
        """Margin beyond which nothing more is gained."""
        return self.margin_mm if self.wanted_margin_mm is None else self.wanted_margin_mm

    @property
    def order(self) -> tuple[Level, ...]:
        """The goals in their order; raises OptionError for a name that is none."""
        names = [name.strip() for name in self.levels.split(",") if name.strip()]
        known = [level.value for level in Level]
        for name in names:
            if name not in known:
                raise OptionError(f"{name!r} is no level of a coverage: choose of {', '.join(known)}")
        return tuple(Level(name) for name in names)
