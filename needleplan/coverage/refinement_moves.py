"""Coordinates in which the needles, ablations and settings of a plan move continuously."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel, ZoneTable
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion, vector3

#: Relative step in power or time for the growth of a zone with it.
_GROWTH_STEP = 1e-4
#: A setting that changes the zone's radius less than this per unit of its logarithm does not change it, in mm.
_LEAST_GROWTH_MM = 0.05


class PlanMoves:
    """Insertions as a function of a vector about given ones, which stand at zero.

    One unit of any coordinate moves the zones by about a millimetre, so that one step length fits all of them:

    - two for a needle's shift across itself and two for its turn about the middle of its zones, in units that move
      the ends of its largest zone by 1 mm;
    - one for each ablation's shift along its needle: however far it moves, it stays on the one straight needle;
    - one each for the logarithms of an ablation's power and time, in units that change the zone's radius by 1 mm.

    A needle that is fixed has neither shift nor turn, and its ablations stay between its entry and its tip.

    Args:
        insertions: each with at least one ablation.
        zone_model: its tables bound powers and times.
        axes: (3, 3) columns, the patient's axes: coordinates move with a moved patient.
        fixed: indices of needles that stand in the patient.
        slide_fixed: ablations may move along fixed needles.
        settings_move: powers and times may change.
    """

    def __init__(
        self,
        insertions: Sequence[Insertion],
        zone_model: EllipsoidTableModel,
        axes: FloatArray,
        fixed: frozenset[int],
        slide_fixed: bool,
        settings_move: bool,
    ) -> None:
        self.insertions = tuple(insertions)
        self._tables = [zone_model.table(insertion.applicator) for insertion in insertions]
        self._behind_mm = [table.applicator.tip_to_centre_mm for table in self._tables]
        #: First coordinate of each needle, and one past the last.
        self.first = [0]
        lower: list[float] = []
        upper: list[float] = []
        self._frames: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray, float]] = []
        self._settings: list[list[tuple[float, ...]]] = []
        self._line: list[bool] = []
        #: What bounds each coordinate, in words.
        self.labels: list[str] = []
        self._slides: list[bool] = []
        for index, (insertion, table) in enumerate(zip(self.insertions, self._tables, strict=True)):
            self._frames.append(self._frame(insertion, table, axes))
            self._line.append(index not in fixed)
            self._slides.append(index not in fixed or slide_fixed)
            if self._line[-1]:
                lower += [-np.inf] * 4
                upper += [np.inf] * 4
                self.labels += [""] * 4
            if self._slides[-1]:
                depths = self.depths_mm(insertion)
                free = self._line[-1]
                lower += [-np.inf if free else -depth for depth in depths]
                upper += [np.inf if free else max(0.0, insertion.depth_mm - depth) for depth in depths]
                self.labels += ["the tip of the fixed needle"] * len(depths)
            units: list[tuple[float, ...]] = []
            for ablation in insertion.ablations:
                units.append(self._units(table, ablation) if settings_move else ())
                for value, nodes, unit, label in zip(
                    _values(ablation), _nodes(table), units[-1], ("time", "power"), strict=False
                ):
                    self.labels.append(f"the {label} that the table ends at")
                    lower.append(float(np.log(nodes[0] / value)) / unit)
                    upper.append(float(np.log(nodes[-1] / value)) / unit)
            self._settings.append(units)
            self.first.append(len(lower))
        #: (m,) bounds of the coordinates; zero always lies between them.
        self.lower = np.minimum(np.array(lower), 0.0)
        self.upper = np.maximum(np.array(upper), 0.0)

    def __len__(self) -> int:
        return len(self.lower)

    def line_coordinates(self, needle: int) -> range:
        """Coordinates on which the path of one needle may depend: turns, shifts, and the slides of its tips."""
        if not self._line[needle]:
            return range(0)
        return range(self.first[needle], self.first[needle] + 4 + len(self.insertions[needle].ablations))

    @property
    def levers_mm(self) -> tuple[float, ...]:
        """Length that a turn of one radian moves the ends of each needle's largest zone by, to first order."""
        return tuple(frame[-1] for frame in self._frames)

    @property
    def moves_lines(self) -> tuple[bool, ...]:
        """True for needles whose path may change."""
        return tuple(self._line)

    def moved(self, x: FloatArray) -> tuple[Insertion, ...]:
        """The insertions at coordinates (m,); a needle without any motion is the very one given.

        Entries keep their distance from the zones, so they leave the skin: ``PathChecks`` puts them back.
        """
        return tuple(self.moved_needle(k, x) for k in range(len(self.insertions)))

    def moved_needle(self, needle: int, x: FloatArray) -> Insertion:
        """One of the insertions at coordinates (m,), as ``moved``."""
        insertion = self.insertions[needle]
        x = x[self.first[needle] : self.first[needle + 1]]
        if not x.any():
            return insertion
        pivot, along, across, third, lever = self._frames[needle]
        count = len(insertion.ablations)
        entry = np.asarray(insertion.entry_mm)
        used = 0
        direction = along
        if self._line[needle]:
            pivot = pivot + x[0] * across + x[1] * third
            # By sine and cosine, so that equal turns to all sides lead to equal angles.
            angle = float(np.hypot(x[2], x[3])) / lever
            if angle > 0:
                way = (x[2] * across + x[3] * third) / (angle * lever)
                direction = np.cos(angle) * along + np.sin(angle) * way
            used = 4
        slides = np.zeros(count)
        if self._slides[needle]:
            slides = x[used : used + count]
            used += count
        depths = self.depths_mm(insertion)
        to_pivot = float((self._frames[needle][0] - entry) @ along)
        ablations = []
        for index, ablation in enumerate(insertion.ablations):
            tip = vector3(pivot + (depths[index] + slides[index] - to_pivot) * direction)
            units = self._settings[needle][index]
            change = x[used : used + len(units)]
            used += len(units)
            ablations.append(self._with_setting(self._tables[needle], ablation, tip, units, change))
        reached = depths + slides
        order = sorted(range(count), key=lambda j: (-reached[j], j))
        arranged = tuple(ablations[j] for j in order)
        if not self._line[needle]:
            return dataclasses.replace(insertion, ablations=arranged)
        start = vector3(pivot - to_pivot * direction)
        return dataclasses.replace(
            insertion, entry_mm=start, tip_mm=arranged[0].tip_mm, ablations=arranged, clearances_mm={}
        )

    @staticmethod
    def _with_setting(
        table: ZoneTable,
        ablation: Ablation,
        tip: tuple[float, float, float],
        units: tuple[float, ...],
        x: FloatArray,
    ) -> Ablation:
        values = list(_values(ablation))
        for index, (nodes, unit) in enumerate(zip(_nodes(table), units, strict=False)):
            if x[index]:
                values[index] = float(np.clip(values[index] * np.exp(x[index] * unit), nodes[0], nodes[-1]))
        power_w = None if table.generator_controlled else values[1]
        return dataclasses.replace(ablation, tip_mm=tip, power_w=power_w, duration_s=values[0])

    @staticmethod
    def depths_mm(insertion: Insertion) -> FloatArray:
        """(k,) distance of the tip from the entry at each ablation."""
        entry = np.asarray(insertion.entry_mm)
        tips = np.array([ablation.tip_mm for ablation in insertion.ablations])
        return np.asarray((tips - entry) @ insertion.direction)

    def _frame(
        self, insertion: Insertion, table: ZoneTable, axes: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float]:
        """Middle of the zones, direction, two directions across, and the distance that a turn is measured at."""
        along = insertion.direction
        behind = table.applicator.tip_to_centre_mm
        middle = float(self.depths_mm(insertion).mean()) - behind
        pivot = np.asarray(insertion.entry_mm) + middle * along
        # The axis of the patient that is farthest from the needle; rounded, so that a motion cannot change it.
        axis = axes[:, int(np.argmin(np.round(np.abs(axes.T @ along), 6)))]
        across = axis - (axis @ along) * along
        across = across / np.linalg.norm(across)
        sizes = [table.size(ablation.power_w, ablation.duration_s) for ablation in insertion.ablations]
        lever = max(0.5 * max(size.axial_length_mm, size.diameter_mm) for size in sizes)
        return pivot, along, across, np.cross(along, across), lever

    @staticmethod
    def _units(table: ZoneTable, ablation: Ablation) -> tuple[float, ...]:
        """Changes of the logarithms of time and power that change the zone's radius by 1 mm."""
        units = []
        for index, nodes in enumerate(_nodes(table)):
            value = _values(ablation)[index]
            ends = []
            for factor in (1.0 - _GROWTH_STEP, 1.0 + _GROWTH_STEP):
                values = list(_values(ablation))
                values[index] = float(np.clip(value * factor, nodes[0], nodes[-1]))
                power_w = None if table.generator_controlled else values[1]
                ends.append((np.log(values[index]), 0.5 * table.size(power_w, values[0]).diameter_mm))
            run = ends[1][0] - ends[0][0]
            growth = abs(ends[1][1] - ends[0][1]) / run if run > 0 else 0.0
            units.append(1.0 / max(growth, _LEAST_GROWTH_MM))
        return tuple(units)


def _values(ablation: Ablation) -> tuple[float, ...]:
    """Time, and power where the user sets it."""
    return (ablation.duration_s,) if ablation.power_w is None else (ablation.duration_s, ablation.power_w)


def _nodes(table: ZoneTable) -> tuple[FloatArray, ...]:
    """Nodes of time, and of power where the user sets it."""
    return (table.durations_s,) if table.generator_controlled else (table.durations_s, table.powers_w)
