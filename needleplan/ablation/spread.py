"""How far a zone may lie from the one predicted: many zones of sampled perfusion, conductivity and power."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import LethalZone, ZoneModel
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.monitoring.priors import FactorPrior
from needleplan.ablation.monitoring.treatment import scaled_power
from needleplan.ablation.tissue_map import TissueMap
from needleplan.ablation.volume import zone_volume_ml
from needleplan.devices.tissue import Tissue
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray, read_only
from needleplan.grid import Grid, ScalarField
from needleplan.plan import Insertion

#: Voxels that the grid of a spread reaches beyond the largest zone.
_ROOM_VOXELS = 2
#: Depth that stands for points outside a zone that destroys nothing.
_NOWHERE_MM = -1e3


@dataclass(frozen=True, slots=True, eq=False)
class ZoneSpread:
    """Zones that are equally likely.

    Attributes:
        grid: of the fields.
        level: (samples, cells) float32 signed measure of each zone, positive inside; read-only.
        volumes_ml: (samples,) volume of each zone; read-only.
    """

    grid: Grid
    level: NDArray[np.float32]
    volumes_ml: FloatArray

    def __post_init__(self) -> None:
        level, volumes = read_only(self.level, np.float32), read_only(self.volumes_ml)
        if level.ndim != 2 or len(level) == 0 or level.shape[1] != int(np.prod(self.grid.shape)):
            raise PhysicsError(f"a spread needs samples of {self.grid.shape} voxels, but has shape {level.shape}")
        if volumes.shape != (len(level),):
            raise PhysicsError(f"a spread of {len(level)} zones needs as many volumes, but has {volumes.shape}")
        object.__setattr__(self, "level", level)
        object.__setattr__(self, "volumes_ml", volumes)

    @property
    def probability(self) -> ScalarField:
        """Share of the zones that hold each voxel centre."""
        return ScalarField(self.grid, (self.level >= 0).mean(axis=0, dtype=np.float32).reshape(self.grid.shape))

    def zone(self, probability: float) -> FieldZone:
        """Where at least a share of the zones reach: every point of it is destroyed with that probability.

        The boundary is that of the quantile of the signed measures, smooth and not stepped by samples or voxels.

        Args:
            probability: 0.95 for what is destroyed almost certainly, 0.05 for what may be reached.

        Raises:
            PhysicsError: not a probability above 0 and up to 1.
        """
        if not 0.0 < probability <= 1.0:
            raise PhysicsError(f"a probability must lie above 0 and up to 1, but is {probability:g}")
        level = np.quantile(self.level, 1.0 - probability, axis=0).astype(np.float32)
        return FieldZone(ScalarField(self.grid, level.reshape(self.grid.shape)))

    def volume_ml(self, share: float) -> float:
        """The volume that a share of the zones do not exceed (quantile)."""
        if not 0.0 <= share <= 1.0:
            raise PhysicsError(f"a share must lie from 0 to 1, but is {share:g}")
        return float(np.quantile(self.volumes_ml, share))


def zone_spread(
    model: ZoneModel,
    insertions: Sequence[Insertion],
    tissue: TissueMap,
    *,
    seed: int,
    samples: int = 40,
    power: FactorPrior | None = None,
    spacing_mm: float = 2.0,
) -> ZoneSpread:
    """Zones with every tissue drawn from its ranges, and the power from a prior.

    Each sample draws every property of every tissue that the table states a range of, independently (that is too
    wide where properties go together), and one factor on all powers that are stated. Then the model runs as it is.

    Args:
        model: any zone model; one that takes no note of tissue shows the spread of the power alone.
        insertions: with their settings.
        tissue: the map, with the ranges of its tissues.
        seed: of the draws; the same seed gives the same zones.
        samples: number of zones; quantiles beyond one over it mean nothing.
        power: prior of the factor on the power; None for the power as stated.
        spacing_mm: of the grid that the zones are compared on, along the patient's axes.

    Raises:
        PhysicsError: less than one sample, a spacing that is none, or see ZoneModel.predict.
        DeviceError: see ZoneModel.predict.
    """
    if samples < 1:
        raise PhysicsError(f"a spread needs at least one sample, but {samples} were asked for")
    if not (np.isfinite(spacing_mm) and spacing_mm > 0):
        raise PhysicsError(f"the spacing of a spread's grid must be positive, but is {spacing_mm:g} mm")
    rng = np.random.default_rng(seed)
    zones = []
    for _ in range(samples):
        drawn = sampled_tissue(tissue, rng)
        factor = 1.0 if power is None else power.sampled(rng)
        zones.append(model.zone(scaled_power(tuple(insertions), factor), drawn))
    grid = _grid_about(zones, spacing_mm)
    centres = grid.centres_mm()
    level = np.stack([np.maximum(zone.signed_distance_mm(centres), _NOWHERE_MM) for zone in zones])
    level = level.astype(np.float32)
    return ZoneSpread(grid, level, np.array([_volume_ml(zone) for zone in zones]))


def sampled_tissue(tissue: TissueMap, rng: np.random.Generator) -> TissueMap:
    """The map with every tissue drawn once from its ranges, alike wherever it lies."""
    drawn: dict[str, Tissue] = {}
    for one in tissue.tissues:
        if one.name not in drawn:
            drawn[one.name] = one.sampled(rng)
    regions = tuple(replace(region, tissue=drawn[region.tissue.name]) for region in tissue.regions)
    return replace(tissue, background=drawn[tissue.background.name], regions=regions)


def _volume_ml(zone: LethalZone) -> float:
    # A single surface has its volume; where several overlap, points have to be counted.
    surfaces = zone.surfaces()
    return surfaces[0].volume_mm3 / 1000.0 if len(surfaces) == 1 else zone_volume_ml(zone)


def _grid_about(zones: Sequence[LethalZone], spacing_mm: float) -> Grid:
    bounds = np.array([zone.bounds_mm for zone in zones])
    low, high = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
    low = low - _ROOM_VOXELS * spacing_mm
    shape = np.ceil((high - low) / spacing_mm).astype(int) + _ROOM_VOXELS + 1
    matrix = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)
