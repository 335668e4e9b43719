"""When tissue counts as dead of heat or cold: Arrhenius damage, CEM43, hottest and coldest temperature."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.damage import (
    ABSOLUTE_ZERO_C,
    arrhenius_parameters,
    arrhenius_rates_per_s,
    cem43_rates_per_s,
)
from needleplan.ablation.dose import DamageCriterion, DoseKind, check_celsius, check_positive
from needleplan.devices.thresholds import DamageSet, damage_set
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray


class _AccumulatedDose(DamageCriterion):
    """A dose that grows at a rate given by the temperature."""

    __slots__ = ()

    @property
    def dose_at_start(self) -> float:
        return 0.0

    def level(self, dose: ArrayLike) -> FloatArray:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.asarray(dose, dtype=np.float64) / self.threshold))

    @abstractmethod
    def rates_per_s(self, temperature_c: ArrayLike) -> FloatArray:
        """Dose per second at temperatures of any shape."""

    def time_to_death_s(self, temperature_c: float) -> float:
        rate = float(self.rates_per_s(temperature_c))
        return self.threshold / rate if rate > 0.0 else math.inf


@final
@dataclass(frozen=True, slots=True)
class ArrheniusCriterion(_AccumulatedDose):
    """Dead where the Arrhenius damage integral reaches a threshold.

    Attributes:
        damage_set: frequency factor and activation energy.
        omega: threshold; 1 leaves 36.8 %, 4.6 leaves 1 % of the molecules or cells of the set as they were.
    """

    damage_set: DamageSet
    omega: float = 1.0

    def __post_init__(self) -> None:
        check_positive("the threshold of a damage integral", self.omega)

    @property
    def name(self) -> str:
        return f"Omega {self.omega:g}, {self.damage_set.name}"

    @property
    def words(self) -> str:
        return f"Arrhenius damage integral of {self.omega:g} or more with the set {self.damage_set.name}"

    @property
    def kind(self) -> DoseKind:
        return DoseKind.ARRHENIUS

    @property
    def threshold(self) -> float:
        return self.omega

    @property
    def kernel_parameters(self) -> tuple[float, float]:
        return arrhenius_parameters(self.damage_set)

    def rates_per_s(self, temperature_c: ArrayLike) -> FloatArray:
        return arrhenius_rates_per_s(temperature_c, self.damage_set)

    def isotherm_c(self, time_s: float) -> float:
        check_positive("the time of an isotherm", time_s)
        log_factor, energy_k = self.kernel_parameters
        logarithm = log_factor + math.log(time_s / self.omega)
        if logarithm <= 0.0:
            raise PhysicsError(f"no temperature is lethal within {time_s:g} s by the criterion {self.name}")
        return energy_k / logarithm + ABSOLUTE_ZERO_C


@final
@dataclass(frozen=True, slots=True)
class Cem43Criterion(_AccumulatedDose):
    """Dead after a number of cumulative equivalent minutes at 43 °C."""

    minutes: float = 240.0

    def __post_init__(self) -> None:
        check_positive("the minutes of CEM43", self.minutes)

    @property
    def name(self) -> str:
        return f"CEM43 {self.minutes:g} min"

    @property
    def words(self) -> str:
        return f"{self.minutes:g} cumulative equivalent minutes at 43 °C or more (Sapareto and Dewey 1984)"

    @property
    def kind(self) -> DoseKind:
        return DoseKind.CEM43

    @property
    def threshold(self) -> float:
        return self.minutes

    def rates_per_s(self, temperature_c: ArrayLike) -> FloatArray:
        return cem43_rates_per_s(temperature_c)

    def isotherm_c(self, time_s: float) -> float:
        check_positive("the time of an isotherm", time_s)
        excess = math.log(self.minutes * 60.0 / time_s)
        # Twice as fast per kelvin from 43 °C, four times below; nothing counts below 39 °C.
        return max(39.0, 43.0 + excess / math.log(2.0 if excess >= 0.0 else 4.0))


@final
@dataclass(frozen=True, slots=True)
class PeakTemperatureCriterion(DamageCriterion):
    """Dead where a temperature was reached, however briefly."""

    temperature_c: float = 60.0

    def __post_init__(self) -> None:
        check_celsius("the peak temperature of a criterion", self.temperature_c)

    @property
    def name(self) -> str:
        return f"peak {self.temperature_c:g} °C"

    @property
    def words(self) -> str:
        return f"{self.temperature_c:g} °C or more at any time"

    @property
    def kind(self) -> DoseKind:
        return DoseKind.HOTTEST

    @property
    def threshold(self) -> float:
        return self.temperature_c

    @property
    def dose_at_start(self) -> float:
        return -math.inf

    def level(self, dose: ArrayLike) -> FloatArray:
        return np.asarray(dose, dtype=np.float64) - self.temperature_c

    def time_to_death_s(self, temperature_c: float) -> float:
        return 0.0 if temperature_c >= self.temperature_c else math.inf

    def isotherm_c(self, time_s: float) -> float:
        check_positive("the time of an isotherm", time_s)
        return self.temperature_c


@final
@dataclass(frozen=True, slots=True)
class ColdestTemperatureCriterion(DamageCriterion):
    """Dead where the tissue was as cold as a temperature in each of a number of freezes.

    Attributes:
        temperature_c: lethal isotherm.
        cycles: freezes that have to reach it.
    """

    temperature_c: float = -40.0
    cycles: int = 2

    def __post_init__(self) -> None:
        check_celsius("the lethal isotherm of a criterion", self.temperature_c)
        if self.cycles < 1:
            raise PhysicsError(f"a criterion of freezing needs one freeze or more, but {self.cycles} were stated")

    @property
    def name(self) -> str:
        return f"{self.temperature_c:g} °C, {self.cycles} freeze{'s' if self.cycles > 1 else ''}"

    @property
    def words(self) -> str:
        return (
            f"{self.temperature_c:g} °C or less in {'one freeze' if self.cycles == 1 else f'{self.cycles} freezes'}"
        )

    @property
    def kind(self) -> DoseKind:
        return DoseKind.COLDEST

    @property
    def threshold(self) -> float:
        return self.temperature_c

    @property
    def dose_at_start(self) -> float:
        return math.inf

    def dose_of_freezes(self, coldest_per_freeze_c: Sequence[FloatArray] | FloatArray) -> FloatArray:
        """Temperature that was reached in as many freezes as the criterion asks for.

        Args:
            coldest_per_freeze_c: (freezes, ...) coldest temperature of every voxel within each freeze.

        Returns:
            (...) the ``cycles``-th coldest of them, which ``level`` takes.

        Raises:
            PhysicsError: fewer freezes than the criterion asks for.
        """
        coldest = np.asarray(coldest_per_freeze_c, dtype=np.float64)
        if coldest.ndim < 1 or len(coldest) < self.cycles:
            raise PhysicsError(
                f"the criterion {self.name} needs the coldest temperatures of {self.cycles} freezes, "
                f"but the shape given is {coldest.shape}"
            )
        return np.partition(coldest, self.cycles - 1, axis=0)[self.cycles - 1]

    def level(self, dose: ArrayLike) -> FloatArray:
        return self.temperature_c - np.asarray(dose, dtype=np.float64)

    def time_to_death_s(self, temperature_c: float) -> float:
        # One unbroken cold spell is one freeze.
        return 0.0 if temperature_c <= self.temperature_c and self.cycles == 1 else math.inf

    def isotherm_c(self, time_s: float) -> float:
        check_positive("the time of an isotherm", time_s)
        return self.temperature_c


@dataclass(frozen=True, slots=True)
class CriterionBand:
    """A criterion with two others that bound the zone, since published sets disagree.

    Attributes:
        central: the criterion that a zone is stated for.
        outer: a more sensitive one, with the larger zone.
        inner: a more cautious one, with the smaller zone.
    """

    central: DamageCriterion
    outer: DamageCriterion
    inner: DamageCriterion

    @property
    def all(self) -> tuple[DamageCriterion, DamageCriterion, DamageCriterion]:
        """Central, outer, inner."""
        return self.central, self.outer, self.inner


def heat_criteria() -> CriterionBand:
    """The criteria that zones of heat are stated with unless others are asked for.

    Omega = 1 of Chang and Nguyen (liver; J Biomech Eng 2004;126:571), close to the classical edge of coagulation at
    50 to 54 °C; outside it 240 minutes of CEM43; inside it a peak of 60 °C. Held for 10 minutes, their isotherms
    are 51.6, 47.6 and 60 °C; other published sets of liver range from 42.5 to 53.7 °C.
    """
    return CriterionBand(
        ArrheniusCriterion(damage_set("liver_ChangNguyen2004")),
        Cem43Criterion(240.0),
        PeakTemperatureCriterion(60.0),
    )
