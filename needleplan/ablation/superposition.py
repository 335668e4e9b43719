"""Zones of simultaneous antennas and fibres: the rises of temperature of all needles add."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from needleplan.ablation.contract import Quantity, ZoneModel, ZonePrediction
from needleplan.ablation.criteria import CriterionBand, heat_criteria
from needleplan.ablation.dose import advanced_dose
from needleplan.ablation.empty_zone import nothing
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.heat_response import (
    TABLE_STEP_MM,
    HeatSource,
    heat_source,
    most_power_w,
    needle_response_k_per_w,
    response_axes_mm,
)
from needleplan.ablation.heating import Delivery
from needleplan.ablation.schedule import check_apart, check_times, checked_power_w, firings
from needleplan.ablation.tissue_map import TissueMap, homogeneous
from needleplan.compiled import compiled_parallel, prange
from needleplan.devices.applicator_physics import ApplicatorPhysicsTable, builtin_applicator_physics
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError
from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.grid import Grid, ScalarField
from needleplan.plan import Insertion

#: Voxels of the fields, and the most of them; larger arrangements are sampled more coarsely.
STEP_MM = 1.0
_MOST_VOXELS = 1.5e6
#: Rise of all needles of a round together below which no criterion of heat can be met within hours: it ends the
#: grid. Tables of single needles go on to the smaller one, since such rises add to others.
_IDLE_RISE_K = 4.0
_NEGLIGIBLE_RISE_K = 0.25
#: Farthest that a zone may reach from its needle.
_FARTHEST_MM = 70.0
#: Times at which temperatures are taken: early ones densely, and while the tissue cools.
_HEATING_TIMES = 14
_COOLING_TIMES_S = (4.0, 10.0, 20.0, 40.0, 80.0, 160.0)
#: Logarithm of dose over threshold below which nothing is told apart; keeps untouched tissue finite.
_LEAST_LEVEL = -12.0


@compiled_parallel
def _accumulate(
    points: Any, tips: Any, ways: Any, which: Any, behind: Any, tables: Any, steps: Any, body: float,
    kinds: Any, parameters: Any, doses: Any, hottest: Any,
) -> None:  # fmt: skip
    """Add to the doses (c, n) and raise the hottest temperatures (n,) of points (n, 3) by one round."""
    times, radii, along = tables.shape[1], tables.shape[2], tables.shape[3]
    for n in prange(points.shape[0]):
        rise = np.zeros(times)
        for p in range(tips.shape[0]):
            dx, dy, dz = points[n, 0] - tips[p, 0], points[n, 1] - tips[p, 1], points[n, 2] - tips[p, 2]
            z = dx * ways[p, 0] + dy * ways[p, 1] + dz * ways[p, 2]
            px, py, pz = dx - z * ways[p, 0], dy - z * ways[p, 1], dz - z * ways[p, 2]
            r = np.sqrt(px * px + py * py + pz * pz) / TABLE_STEP_MM
            z = (z / TABLE_STEP_MM) + behind[p]
            if r >= radii - 1 or z < 0.0 or z >= along - 1:
                continue
            i, k = int(r), int(z)
            u, v = r - i, z - k
            for t in range(times):
                low = tables[which[p], t, i, k] * (1.0 - v) + tables[which[p], t, i, k + 1] * v
                high = tables[which[p], t, i + 1, k] * (1.0 - v) + tables[which[p], t, i + 1, k + 1] * v
                rise[t] += low * (1.0 - u) + high * u
        before = body
        for t in range(times):
            after = body + rise[t]
            hottest[n] = max(hottest[n], after)
            for c in range(kinds.shape[0]):
                doses[c, n] = advanced_dose(
                    kinds[c], parameters[c, 0], parameters[c, 1], doses[c, n], before, after, steps[t]
                )
            before = after


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One needle of a round: where it stands and what it gives."""

    tip_mm: tuple[float, float, float]
    way: FloatArray
    source: HeatSource
    power_w: float
    duration_s: float


class SuperpositionModel(ZoneModel):
    """Microwave antennas and laser fibres in one tissue of constant properties, their rises added.

    Each needle heats as points along its length whose power is spread as in the tissue (``heat_response``), in
    closed form for the Pennes equation with constant perfusion; when it is switched off, the same rise begins to be
    taken away. Constant properties make the equation linear: rises of needles that heat at once add. The first
    ablations of all insertions are delivered at once; the second ones begin after the tissue has cooled; doses of
    heat add up over these rounds.

    Args:
        criteria: what kills, with an outer and an inner bound; ``heat_criteria`` by default.
        default_tissue: name of the tissue where none is given.
        table: the needles; the built-in ones by default.
        perfusion_factor: on the tissue's perfusion. Heat stops the flow in most of a zone: 1 leaves all of it and
            0 none, and the zones of both bound what a solver with shutdown finds.
    """

    def __init__(
        self,
        criteria: CriterionBand | None = None,
        default_tissue: str = "liver",
        table: ApplicatorPhysicsTable | None = None,
        perfusion_factor: float = 1.0,
    ) -> None:
        if not (math.isfinite(perfusion_factor) and perfusion_factor >= 0.0):
            raise DeviceError(f"the factor of perfusion must be zero or more, not {perfusion_factor:g}")
        self.perfusion_factor = perfusion_factor
        self.criteria = criteria or heat_criteria()
        self.default_tissue = default_tissue
        self._table = table or builtin_applicator_physics()

    @property
    def name(self) -> str:
        """See ZoneModel."""
        factor = "" if self.perfusion_factor == 1.0 else f", {self.perfusion_factor:g} times the perfusion"
        return f"superposed closed forms ({self.criteria.central.name}{factor})"

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        return (
            "Temperatures are closed forms for one tissue of constant properties: boiling, vessels, cooled shafts "
            "and blood flow shut off by heat are not modelled; where the sum exceeds 100 C the zone is overstated, "
            "where blood would stop flowing it is understated.",
            f"Where no tissue is given it is endless {self.default_tissue}, with {self.perfusion_factor:g} "
            "times its perfusion.",
        )

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel; of the tissue only the background is asked."""
        around = tissue or homogeneous(builtin_tissues().tissue(self.default_tissue))
        rounds = self._rounds(insertions, around)
        if not rounds:
            return nothing(self.criteria.central.words)
        blood = builtin_tissues().tissue("blood").volumetric_heat_j_m3_k
        perfusion = self.perfusion_factor * around.background.known("perfusion_per_s") * blood
        responses = [_Responses(turn, around, perfusion) for turn in rounds]
        grid = _grid_about(rounds, responses)
        points = grid.centres_mm()
        band = self.criteria.all
        doses = np.stack([np.full(len(points), criterion.dose_at_start) for criterion in band])
        hottest = np.full(len(points), around.body_temperature_c)
        kinds = np.array([int(criterion.kind) for criterion in band])
        parameters = np.array([criterion.kernel_parameters for criterion in band])
        for turn, response in zip(rounds, responses, strict=True):
            _accumulate(
                points,
                np.array([one.tip_mm for one in turn]),
                np.array([one.way for one in turn]),
                response.which,
                response.behind,
                response.tables,
                response.steps_s,
                around.body_temperature_c,
                kinds,
                parameters,
                doses,
                hottest,
            )
        zones = []
        for criterion, dose in zip(band, doses, strict=True):
            level = np.maximum(criterion.level(dose), _LEAST_LEVEL).reshape(grid.shape).astype(np.float32)
            zones.append(FieldZone(ScalarField(grid, level)))
            zones[-1].require_inside_grid()
        boiling_ml = float(np.count_nonzero(hottest > 100.0)) * grid.voxel_volume_mm3 / 1000.0
        notes = [] if tissue is None or not tissue.vessels + tissue.regions else [
            f"Only the background tissue, {tissue.background.name}, was used: the closed form knows no others and "
            "no vessels."
        ]  # fmt: skip
        if boiling_ml > 0.0:
            notes.append(
                f"The sum exceeds 100 C in {boiling_ml:.1f} ml, where water would boil: the zone is overstated."
            )
        given = sum(one.power_w * one.source.efficiency * one.duration_s for turn in rounds for one in turn)
        return ZonePrediction(
            zones[0],
            band[0].words,
            {"hottest_temperature_c": ScalarField(grid, hottest.reshape(grid.shape).astype(np.float32))},
            {criterion.words: zone for criterion, zone in zip(band[1:], zones[1:], strict=True)},
            (
                Quantity("energy into tissue", given / 1000.0, "kJ"),
                Quantity("volume above 100 C", boiling_ml, "ml"),
            ),
            tuple(notes),
        )

    def _rounds(self, insertions: Sequence[Insertion], tissue: TissueMap) -> list[list[_Delivery]]:
        check_times(insertions)
        rounds = []
        for group in firings(insertions, Delivery.SIMULTANEOUS):
            turn, parts = [], []
            for firing in group:
                physics = self._table.applicator(firing.insertion.applicator)
                source = heat_source(physics, tissue.background)
                power = checked_power_w(physics.name, firing.ablation.power_w, most_power_w(physics))
                turn.append(
                    _Delivery(firing.ablation.tip_mm, firing.direction, source, power, firing.ablation.duration_s)
                )
                parts.append(firing.part(max(source.length_mm, physics.diameter_mm), physics.diameter_mm))
            check_apart(parts)
            rounds.append(turn)
        return rounds


class _Responses:
    """Rises of the needles of one round at the times of the round, one table for needles alike."""

    def __init__(self, turn: Sequence[_Delivery], tissue: TissueMap, perfusion_w_m3_k: float) -> None:
        longest = max(one.duration_s for one in turn)
        heating = longest * (np.arange(1, _HEATING_TIMES + 1) / _HEATING_TIMES) ** 2
        ends = np.array([one.duration_s for one in turn])
        cooling = (ends[:, None] + np.array(_COOLING_TIMES_S)).ravel()
        times = np.unique(np.concatenate([heating, ends, cooling]))
        self.steps_s = np.diff(times, prepend=0.0)
        settings = [(one.source, one.power_w, one.duration_s) for one in turn]
        kinds = list(dict.fromkeys(settings))
        self.which = np.array([kinds.index(one) for one in settings])
        total = sum(one.power_w * one.source.efficiency for one in turn)
        reaches = [
            _reaches_mm(kind[0], total / kind[0].efficiency, longest, tissue, perfusion_w_m3_k) for kind in kinds
        ]
        self.reach_mm, table_mm = np.max(reaches, axis=0).tolist()
        tables = []
        for source, power, duration in kinds:
            both = np.concatenate([times, times - duration])
            rise = needle_response_k_per_w(source, both, table_mm, tissue.background, perfusion_w_m3_k)
            tables.append(power * (rise[: len(times)] - rise[len(times) :]))
        # Tables of needles of unlike lengths are filled up ahead of the tip, where nothing is looked up.
        size = max(table.shape[2] for table in tables)
        self.tables = np.stack([np.pad(table, ((0, 0), (0, 0), (0, size - table.shape[2]))) for table in tables])
        starts = [float(-response_axes_mm(source, table_mm)[1][0]) / TABLE_STEP_MM for source, _, _ in kinds]
        self.behind = np.array(starts)[self.which]


def _reaches_mm(
    source: HeatSource, power_w: float, time_s: float, tissue: TissueMap, perfusion_w_m3_k: float
) -> tuple[float, float]:
    """How far from a needle all power of a round, if it were this one's, makes a rise that can kill, and any."""
    rise = power_w * needle_response_k_per_w(
        source, np.array([time_s]), _FARTHEST_MM, tissue.background, perfusion_w_m3_k
    )
    radius_mm, along_mm = response_axes_mm(source, _FARTHEST_MM)

    def reach(least_k: float) -> float:
        beside = radius_mm[(rise[0] >= least_k).any(axis=1)].max(initial=0.0)
        ahead = along_mm[(rise[0] >= least_k).any(axis=0)].max(initial=0.0)
        return float(max(beside, ahead)) + 4.0

    return reach(_IDLE_RISE_K), reach(_NEGLIGIBLE_RISE_K)


def _grid_about(rounds: Sequence[Sequence[_Delivery]], responses: Sequence[_Responses]) -> Grid:
    """A grid along the first needle that holds all that is heated."""
    axis = rounds[0][0].way
    frame = np.stack([*perpendicular_axes(axis), axis], axis=1)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for turn, response in zip(rounds, responses, strict=True):
        for one in turn:
            for end in (np.asarray(one.tip_mm), np.asarray(one.tip_mm) - one.source.length_mm * one.way):
                place = end @ frame
                low, high = np.minimum(low, place - response.reach_mm), np.maximum(high, place + response.reach_mm)
    step = max(STEP_MM, float(np.cbrt(np.prod(high - low) / _MOST_VOXELS)))
    shape = tuple(int(n) + 2 for n in np.ceil((high - low) / step))
    matrix = np.eye(4)
    matrix[:3, :3] = frame * step
    matrix[:3, 3] = frame @ low
    return Grid(shape, matrix)  # type: ignore[arg-type]
