"""What each factor of a study may be: from the words of its file to checked values, and back for messages."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from needleplan.app.study.number_text import number_text
from needleplan.app.study.study import Breathing
from needleplan.case.strict_tables import nearest, shown
from needleplan.coverage.pair_limits import PULSE_MODALITIES
from needleplan.coverage.region import LARGEST_MARGIN_MM
from needleplan.devices.catalogue import DeviceCatalogue, builtin_catalogue, builtin_catalogue_with
from needleplan.errors import NeedleplanError, OptionError
from needleplan.plan import MOST_OF_EACH
from needleplan.uncertainty.presets import preset_names
from robots.catalogue import list_robots, load_robot
from sim.strategies import STRATEGIES

#: Zone tables that plans of studies are made from.
SETTING = "in_vivo"

#: Words of the file for None.
NOTHING = {"power_w": "all", "probes": "any", "strategy": "none", "robot": "none", "error_budget": "none"}

#: The breathing that needs no table.
QUIET = Breathing()


class FactorReader:
    """Reads values of factors.

    Args:
        base: folder that the TOMLs of robots count from.
        breathing: the ways to breathe by name.
        devices: the user's own applicators beside the built-in ones; None where there are none.
    """

    def __init__(
        self, base: Path, breathing: Mapping[str, Breathing], devices: DeviceCatalogue | None = None
    ) -> None:
        self._base = base
        self._catalogue = builtin_catalogue() if devices is None else builtin_catalogue_with(devices)
        self._breathing = {QUIET.name: QUIET, **breathing}
        self._readers: dict[str, Callable[[object], Any]] = {
            "device": self._device,
            "power_w": lambda value: _number("power_w", value, 1.0, 1000.0),
            "margin_mm": lambda value: _number("margin_mm", value, 0.0, LARGEST_MARGIN_MM),
            "probes": _probes,
            "strategy": lambda value: _word("strategy", value, STRATEGIES),
            "robot": self._robot,
            "error_budget": lambda value: _word("error_budget", value, preset_names()),
            "breathing": self._breathes,
        }

    def read(self, factor: str, value: object) -> Any:
        """One value as it stands in a ``Cell``.

        Raises:
            OptionError: there is no such value, with the nearest right one.
        """
        if factor in NOTHING and value == NOTHING[factor]:
            return None
        return self._readers[factor](value)

    def powers_w(self, device: str) -> tuple[float | None, ...]:
        """The generator powers in the zone table of a device, rising; a None where its generator controls it."""
        powers = {row.power_w for row in self._catalogue.rows(device, SETTING)}
        return tuple(sorted(powers, key=lambda power: -1.0 if power is None else power))

    def _device(self, value: object) -> str:
        catalogue = self._catalogue
        usable = tuple(
            applicator.name
            for applicator in catalogue.applicators
            if any(row.applicator == applicator.name and row.setting == SETTING for row in catalogue.zones)
            and applicator.modality not in PULSE_MODALITIES
        )
        name = _word("device", value, tuple(item.name for item in catalogue.applicators), known_only=usable)
        applicator = catalogue.applicator(name)
        if name in usable:
            return name
        why = f"has no {SETTING.replace('_', ' ')} zone table to plan with"
        if applicator.modality in PULSE_MODALITIES:
            why = "gives pulses, which make no zone with one needle alone"
        raise OptionError(f"device {name!r} {why}: take one of {', '.join(usable)}")

    def _breathes(self, value: object) -> Breathing:
        example = value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,40}", value) else "NAME"
        also = f"; what another name stands for is told by a table such as [breathing.{example}]"
        return self._breathing[_word("breathing", value, tuple(self._breathing), also)]

    def _robot(self, value: object) -> str:
        if not (isinstance(value, str) and value.endswith(".toml")):
            return _word("robot", value, list_robots(), "; a robot of your own is given by the path of its TOML")
        path = (self._base / value).absolute()
        try:
            load_robot(path)
        except (NeedleplanError, OSError, ValueError) as error:
            raise OptionError(f"robot is {shown(value)}, which cannot be used: {error}") from None
        return str(path)


def written(factor: str, value: Any) -> str:
    """A value as it would stand in the file."""
    if value is None:
        value = NOTHING[factor]
    if isinstance(value, Breathing):
        value = value.name
    return f'"{value}"' if isinstance(value, str) else number_text(value)


def _word(
    factor: str, value: object, known: tuple[str, ...], also: str = "", known_only: tuple[str, ...] | None = None
) -> str:
    """A word that must be one of some; of these, messages may list a part only."""
    if isinstance(value, str) and value in known:
        return value
    allowed = (known if known_only is None else known_only) + ((NOTHING[factor],) if factor in NOTHING else ())
    hint = nearest(value, {*known, *allowed}) if isinstance(value, str) else ""
    must = f"{'It' if hint else 'it'} must be one of {', '.join(allowed)}{also}"
    raise OptionError(f"{factor} is {shown(value)}; {hint}{must}")


def _number(factor: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        nothing = f", or {written(factor, None)}" if factor in NOTHING else ""
        raise OptionError(f"{factor} is {shown(value)}; it must be a number from {low:g} to {high:g}{nothing}")
    return float(value)


def _probes(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_OF_EACH:
        raise OptionError(
            f"probes is {shown(value)}; it must be a whole number from 1 to {MOST_OF_EACH}, or "
            f"{written('probes', None)}"
        )
    return value
