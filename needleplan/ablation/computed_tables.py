"""Zone tables that a solver computes: the physics of one probe done once, for applicators without a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from needleplan.ablation.contract import ZoneModel, ZonePrediction
from needleplan.ablation.inscribed import InscribedSpheroid, NeedleProfile
from needleplan.ablation.model_choice import even_freezes, solver_for
from needleplan.ablation.zone_axes import zone_axes
from needleplan.devices.applicator_physics import (
    CryoProbe,
    LaserFibre,
    MicrowaveAntenna,
    PulseElectrode,
    applicator_physics,
)
from needleplan.devices.catalogue import Applicator, DeviceCatalogue, ZoneRow, builtin_catalogue
from needleplan.errors import DeviceError, PhysicsError
from needleplan.plan import Ablation, Insertion

#: Power of the generator, None where it controls it, and duration.
Setting = tuple[float | None, float]
#: Steps in which the middle of an applicator's zones is sought along the needle.
_CENTRE_STEP_MM = 0.5
#: The probe that is computed, level and long enough for every active part.
_TIP_MM, _ENTRY_MM, _DIRECTION = (0.0, 0.0, 0.0), (0.0, -120.0, 0.0), (0.0, 1.0, 0.0)
#: Shares of the greatest power that are offered where a generator takes a power, and what stands for the greatest
#: where no source states one.
_POWER_SHARES, _USUAL_POWER_W = (0.5, 0.75, 1.0), 15.0
#: Durations offered, in s: fractions and multiples of the usual treatment of each modality.
_HEATING_S, _CONTROLLED_S, _LIGHT_S = (180.0, 300.0, 600.0), (240.0, 480.0, 720.0), (300.0, 600.0, 900.0)
#: Lengths of each of two freezes that are offered, with the passive thaw between them.
_FREEZES_S, _THAW_S = (300.0, 450.0, 600.0), 300.0


@dataclass(frozen=True, slots=True)
class ComputedZone:
    """One row of a computed table, and what was left out of it.

    Attributes:
        power_w: of the generator; None where it controls it.
        duration_s: of the whole ablation, thaws of cryoprobes included.
        spheroid: the spheroid that stands for the zone, inside it.
        zone_ml: volume of the predicted zone.
        length_mm: extent of the predicted zone along the needle.
        diameter_mm: its least width across the needle where it is widest.
    """

    power_w: float | None
    duration_s: float
    spheroid: InscribedSpheroid
    zone_ml: float
    length_mm: float
    diameter_mm: float

    @property
    def shortfall_ml(self) -> float:
        """Volume of the zone that the spheroid leaves out."""
        return self.zone_ml - self.spheroid.volume_ml


@dataclass(frozen=True, slots=True, eq=False)
class ComputedTable:
    """A size menu of one applicator.

    Attributes:
        catalogue: the applicator, its tip-to-centre distance that of the spheroids, with its rows.
        zones: what the rows were made from, by power and time.
        notes: sentences that a reader of a plan must know.
    """

    catalogue: DeviceCatalogue
    zones: tuple[ComputedZone, ...]
    notes: tuple[str, ...]


def computed_table(
    applicator: str,
    powers_w: Sequence[float | None] = (),
    durations_s: Sequence[float] = (),
    *,
    tissue: str = "liver",
    spacing_mm: float | None = None,
    reach_mm: float | None = None,
    perfusion_factor: float = 1.0,
    tip_to_centre_mm: float | None = None,
    setting: str = "in_vivo",
    model_for: Callable[[float], ZoneModel] | None = None,
) -> ComputedTable:
    """The zones of one probe in endless tissue at a grid of settings, as a table that coverage can plan with.

    Each row is the largest spheroid of revolution about the needle inside the predicted lethal zone, so the table
    never overstates the solver at its nodes; all of them share one centre, that which keeps the largest mean share
    of the zones. A row of more power and more time holds the rows of less wherever the zones do.

    Args:
        applicator: name of the applicator.
        powers_w: powers of the generator, ``(None,)`` where it controls them; those of ``usual_settings`` if empty.
        durations_s: durations; those of ``usual_settings`` if empty. Of cryoprobes the whole of two equal freezes
            and the thaw of 300 s between them.
        tissue: name of the tissue about the probe.
        spacing_mm: side of the solver's voxels; its own where None.
        reach_mm: room about the active part; the solver's own where None.
        perfusion_factor: on the tissue's perfusion.
        tip_to_centre_mm: distance from the tip back to the middle of all spheroids; the best one where None.
        setting: name of the table: ``in_vivo`` or ``ex_vivo`` (then ask for a perfusion factor of 0).
        model_for: the model at a duration; the applicator's solver where None.

    Raises:
        DeviceError: the applicator or a setting is unknown to the solver, or its zones belong to pairs of needles.
        PhysicsError: a setting destroys nothing, or no spheroid about the centre fits into its zone.
    """
    device = builtin_catalogue().applicator(applicator)
    usual_powers, usual_durations = usual_settings(applicator) if not (powers_w and durations_s) else ((), ())
    settings = sorted(
        set(product(powers_w or usual_powers, durations_s or usual_durations)),
        key=lambda one: (one[0] or 0.0, one[1]),
    )
    make = model_for or _solver_at(applicator, tissue, spacing_mm, reach_mm, perfusion_factor)
    profiles: dict[Setting, NeedleProfile] = {}
    predictions: dict[Setting, ZonePrediction] = {}
    for one in settings:
        predictions[one] = make(one[1]).predict([_probe(applicator, one)])
        try:
            profiles[one] = NeedleProfile(predictions[one].zone, _TIP_MM, _DIRECTION)
        except PhysicsError as error:
            raise PhysicsError(f"{_words(applicator, one)}: {error}") from error
    centre = _common_centre_mm(profiles, device) if tip_to_centre_mm is None else tip_to_centre_mm
    spheroids = _nested(profiles, centre, applicator)
    zones = []
    for one in settings:
        axes = zone_axes(predictions[one].zone, _TIP_MM, _DIRECTION)
        zones.append(ComputedZone(*one, spheroids[one], axes.volume_ml, axes.length_mm, axes.least_diameter_mm))
    model = make(settings[0][1])
    moved = replace(
        device,
        tip_to_centre_mm=centre,
        is_vendor_table=False,
        geometry_source=f"{device.geometry_source}; middle of the computed zones {centre:g} mm behind the tip",
    )
    rows = tuple(
        ZoneRow(
            applicator,
            setting,
            zone.power_w,
            zone.duration_s,
            2.0 * zone.spheroid.axial_mm,
            2.0 * zone.spheroid.radial_mm,
            f"largest spheroid inside: {predictions[(zone.power_w, zone.duration_s)].criterion}",
            make(zone.duration_s).name,
            "COMPUTED",
            "medium",
            f"{tissue}, perfusion x {perfusion_factor:g}",
        )
        for zone in zones
    )
    found = (note for prediction in predictions.values() for note in prediction.notes)
    notes = tuple(dict.fromkeys((*model.notes, *found, _shortfall_note(zones))))
    return ComputedTable(DeviceCatalogue((moved,), rows), tuple(zones), notes)


def usual_settings(applicator: str) -> tuple[tuple[float | None, ...], tuple[float, ...]]:
    """Powers and durations that a size menu is computed at where none are asked for.

    Raises:
        DeviceError: the applicator's zones belong to pairs of needles.
    """
    physics = applicator_physics(applicator)
    if isinstance(physics, PulseElectrode):
        raise DeviceError(
            f"applicator {applicator!r} treats between pairs of needles: a single one has no zone for a table"
        )
    if isinstance(physics, MicrowaveAntenna | LaserFibre):
        most = physics.maximum_power_w or _USUAL_POWER_W
        powers = tuple(share * most for share in _POWER_SHARES)
        return powers, _HEATING_S if isinstance(physics, MicrowaveAntenna) else _LIGHT_S
    if isinstance(physics, CryoProbe):
        return (None,), tuple(2.0 * freeze + _THAW_S for freeze in _FREEZES_S)
    return (None,), _CONTROLLED_S


def _solver_at(
    applicator: str, tissue: str, spacing_mm: float | None, reach_mm: float | None, perfusion_factor: float
) -> Callable[[float], ZoneModel]:
    physics = applicator_physics(applicator)
    if isinstance(physics, PulseElectrode):
        usual_settings(applicator)

    def make(duration_s: float) -> ZoneModel:
        return solver_for(
            applicator,
            spacing_mm=spacing_mm,
            reach_mm=reach_mm,
            perfusion_factor=perfusion_factor,
            default_tissue=tissue,
            freezes=even_freezes(duration_s, thaw_s=_THAW_S) if isinstance(physics, CryoProbe) else None,
        )

    return make


def _probe(applicator: str, setting: Setting) -> Insertion:
    return Insertion(_ENTRY_MM, _TIP_MM, applicator, (Ablation(_TIP_MM, *setting),))


def _common_centre_mm(profiles: dict[Setting, NeedleProfile], device: Applicator) -> float:
    """The centre that keeps the largest mean share of the largest spheroid that each zone could hold."""
    low = min(profile.span_mm[0] for profile in profiles.values())
    high = max(profile.span_mm[1] for profile in profiles.values())
    # The catalogue has no centres ahead of the tip.
    places = np.arange(max(0.0, np.ceil(low / _CENTRE_STEP_MM) * _CENTRE_STEP_MM), high, _CENTRE_STEP_MM)
    volumes = np.zeros((len(profiles), len(places)))
    for i, profile in enumerate(profiles.values()):
        for j, place in enumerate(places.tolist()):
            found = profile.estimate(place)
            volumes[i, j] = 0.0 if found is None else found.volume_ml
    usable = (volumes > 0).all(axis=0)
    if not usable.any():
        raise PhysicsError(
            f"the zones of {device.name} at these settings have no common middle: ask for fewer settings"
        )
    shares = (volumes / volumes.max(axis=1, keepdims=True)).mean(axis=0)
    return float(places[int(np.argmax(np.where(usable, shares, -1.0)))])


def _nested(
    profiles: dict[Setting, NeedleProfile], centre_mm: float, applicator: str
) -> dict[Setting, InscribedSpheroid]:
    """A spheroid for each setting, that holds those of less power or less time where its zone does."""
    found: dict[Setting, InscribedSpheroid] = {}
    for one, profile in profiles.items():
        smaller = [
            made
            for other, made in found.items()
            if (other[0] or 0.0) <= (one[0] or 0.0) and other[1] <= one[1] and other != one
        ]
        joined = None
        if smaller:
            joined = InscribedSpheroid(
                max(made.axial_mm for made in smaller), max(made.radial_mm for made in smaller), centre_mm
            )
        try:
            found[one] = profile.largest(centre_mm, joined)
        except PhysicsError as error:
            raise PhysicsError(f"{_words(applicator, one)}: {error}") from error
    return found


def _words(applicator: str, setting: Setting) -> str:
    power = "" if setting[0] is None else f"{setting[0]:g} W for "
    return f"{applicator} with {power}{setting[1]:g} s"


def _shortfall_note(zones: Sequence[ComputedZone]) -> str:
    shares = [zone.shortfall_ml / zone.zone_ml for zone in zones]
    return (
        "Rows are the largest spheroids inside the zones that the solver predicts for one probe in endless tissue: "
        f"they leave out {100 * min(shares):.0f} to {100 * max(shares):.0f} % of their volume "
        f"({min(zone.shortfall_ml for zone in zones):.1f} to {max(zone.shortfall_ml for zone in zones):.1f} ml). "
        "Between the rows sizes are interpolated and not computed."
    )
