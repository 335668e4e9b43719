"""Planning options from the words of the command line."""

import dataclasses
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.case.model import Role
from needleplan.coverage.options import DEFAULT_LEVELS, CoverageOptions, ThermalMargins
from needleplan.coverage.pair_limits import PULSE_MODALITIES
from needleplan.devices.catalogue import DeviceCatalogue, load_catalogue
from needleplan.errors import OptionError
from needleplan.plan import MOST_OF_EACH
from needleplan.plan_physics import PhysicsPlanning
from needleplan.planning import PlanningOptions
from needleplan.trajectory.preset import load_preset
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits
from needleplan.uncertainty.likelihoods import ErrorOptions, Robustness
from needleplan.uncertainty.presets import preset_budget


def planning_from(options: Namespace) -> tuple[PlanningOptions, EllipsoidTableModel]:
    """Planning options and zone model from the command line of ``plan``.

    Raises:
        NeedleplanError: as of ``search_from``, a value of the coverage is impossible, or there is no such
            applicator or no zone table of it.
    """
    search, catalogue = search_from(options)
    zone_model = EllipsoidTableModel(catalogue, options.setting)
    # Told here, before a case is read. Pulses have no table of zones, and the planner says what they need.
    if zone_model.catalogue.applicator(search.applicator).modality not in PULSE_MODALITIES:
        zone_model.table(search.applicator)
    if options.max_insertions > MOST_OF_EACH:
        raise OptionError(f"a plan has at most {MOST_OF_EACH} insertions, so --max-insertions cannot be more")
    physics = PhysicsPlanning(options.tumour, rounds=options.physics_rounds)
    planning = dataclasses.replace(
        search,
        setting=options.setting,
        coverage=CoverageOptions(
            margin_mm=options.margin_mm,
            wanted_margin_mm=options.wanted_margin_mm,
            levels=DEFAULT_LEVELS if options.levels is None else options.levels,
            maximum_insertions=options.max_insertions,
            needles_at_once=options.needles_at_once,
            least_organ_fraction=options.least_organ_fraction,
            time_limit_s=options.time_limit_s,
        ),
        thermal=thermal_margins_from(options.thermal_margin),
        refine=not options.no_refine,
        physics=None if options.no_physics else physics,
        errors=errors_from(options),
        seed=options.seed,
    )
    return planning, zone_model


def errors_from(options: Namespace) -> ErrorOptions | None:
    """The errors that chances are drawn from; None where no scenario is asked for.

    Raises:
        OptionError: a value is impossible, or robustness is asked for without scenarios or in two ways.
    """
    preset_budget(options.error_budget)
    asked = options.most_probable or options.required_chance is not None
    if options.most_probable and options.required_chance is not None:
        raise OptionError("--most-probable and --required-chance ask for different plans: give one of them")
    if options.scenarios == 0:
        if asked:
            raise OptionError("a plan cannot be chosen by its chance without scenarios: leave out --scenarios 0")
        return None
    robustness = Robustness.NONE
    if asked:
        robustness = Robustness.MOST_PROBABLE if options.most_probable else Robustness.REQUIRED
    return ErrorOptions(
        options.error_budget,
        options.scenarios,
        robustness=robustness,
        level_mm=options.chance_margin_mm,
        required=options.required_chance,
    )


def thermal_margins_from(texts: Sequence[str]) -> ThermalMargins:
    """The default thermal margins with those that were given in their place.

    Raises:
        OptionError: a text is not ROLE=MM or ROLE=none, states a role twice, or a margin is impossible.
    """
    known = [item.name.removesuffix("_mm") for item in dataclasses.fields(ThermalMargins)]
    return ThermalMargins(**_by_role("--thermal-margin", "margin", texts, known, none_allowed=True))


def _by_role(
    option: str, what: str, texts: Sequence[str], known: Sequence[str], none_allowed: bool = False
) -> dict[str, float | None]:
    """Millimetres by name of the field, ``ROLE_mm``, from texts ROLE=MM.

    Raises:
        OptionError: a text is not that, its role is not known, or a role is stated twice.
    """
    given: dict[str, float | None] = {}
    for text in texts:
        role, _, number = text.partition("=")
        if f"{role}_mm" in given:
            raise OptionError(f"{option} states {role} twice: give one {what} for each role")
        try:
            if role not in known:
                raise ValueError(role)
            given[f"{role}_mm"] = None if none_allowed and number == "none" else float(number)
        except ValueError as error:
            form = "ROLE=MM or ROLE=none" if none_allowed else "ROLE=MM"
            raise OptionError(f"{option} {text!r} must be {form} with a role of {', '.join(known)}") from error
    return given


def search_from(options: Namespace) -> tuple[PlanningOptions, DeviceCatalogue | None]:
    """What decides about paths, and the user's own applicators, from the command line.

    Raises:
        NeedleplanError: a table is missing its partner, or a value is impossible.
    """
    catalogue: DeviceCatalogue | None = None
    if (options.applicators_csv is None) != (options.zones_csv is None):
        raise OptionError("--applicators-csv and --zones-csv go together: give both or neither")
    if options.applicators_csv is not None:
        catalogue = load_catalogue(Path(options.applicators_csv), Path(options.zones_csv))
    search = PlanningOptions(
        applicator=options.applicator,
        sampling=SamplingOptions(entry_spacing_mm=options.entry_spacing_mm, aim_count=options.aims),
        limits=limits_from(options),
    )
    if options.refine is not None:
        further = dataclasses.replace(search.search, maximum_refined=options.refine)
        search = dataclasses.replace(search, search=further)
    return search, catalogue


def limits_from(options: Namespace) -> PathLimits:
    """The preset's limits, or the defaults, with those that were given one by one in their place.

    Raises:
        OptionError: the preset is unknown, a clearance is not ROLE=MM or states its role twice, or a limit is
            impossible.
    """
    limits = PathLimits() if options.preset is None else load_preset(options.preset)
    known = [role.value for role in Role if role.is_obstacle]
    given = _by_role("--clearance", "clearance", options.clearance, known)
    for name in ("skin_angle_deg", "table_angle_deg", "organ_path_mm"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    return dataclasses.replace(limits, **given)  # type: ignore[arg-type]
