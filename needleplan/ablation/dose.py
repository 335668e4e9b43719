"""The dose that a solver keeps per voxel, and the contract of the criteria that read death from it."""

import math
from abc import ABC, abstractmethod
from enum import IntEnum

from numpy.typing import ArrayLike

from needleplan.ablation.damage import ABSOLUTE_ZERO_C, arrhenius_mean_rate_per_s, cem43_mean_rate_per_s
from needleplan.compiled import compiled
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray


class DoseKind(IntEnum):
    """What a criterion keeps per voxel; the numbers are those that ``advanced_dose`` switches on."""

    ARRHENIUS = 0
    CEM43 = 1
    HOTTEST = 2
    COLDEST = 3


@compiled
def advanced_dose(
    kind: int,
    ln_frequency_factor: float,
    activation_energy_over_gas_constant_k: float,
    dose: float,
    before_c: float,
    after_c: float,
    step_s: float,
) -> float:
    """Dose of one voxel after a step of linear temperature; compiled, for solvers.

    Args:
        kind: a ``DoseKind``.
        ln_frequency_factor, activation_energy_over_gas_constant_k: of ``DamageCriterion.kernel_parameters``.
        dose: Omega, minutes of CEM43, or the hottest or coldest temperature so far.
        before_c, after_c: temperatures at both ends of the step.
        step_s: its length.
    """
    if kind == 0:
        return dose + step_s * arrhenius_mean_rate_per_s(
            before_c, after_c, ln_frequency_factor, activation_energy_over_gas_constant_k
        )
    if kind == 1:
        return dose + step_s * cem43_mean_rate_per_s(before_c, after_c)
    if kind == 2:
        return max(dose, before_c, after_c)
    return min(dose, before_c, after_c)


class DamageCriterion(ABC):
    """When tissue counts as dead. Implementations are frozen values."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for fields, tables and files."""

    @property
    @abstractmethod
    def words(self) -> str:
        """The criterion in words, with the set behind it."""

    @property
    @abstractmethod
    def kind(self) -> DoseKind:
        """What a solver has to keep per voxel."""

    @property
    @abstractmethod
    def threshold(self) -> float:
        """Dose from which tissue is dead (coldest temperature: down to which)."""

    @property
    def kernel_parameters(self) -> tuple[float, float]:
        """ln A and Ea / R (kelvin) as ``advanced_dose`` takes them; zeros where the criterion has none."""
        return 0.0, 0.0

    @property
    @abstractmethod
    def dose_at_start(self) -> float:
        """Dose of untreated tissue."""

    @abstractmethod
    def level(self, dose: ArrayLike) -> FloatArray:
        """Smooth signed measure of lethality of doses of any shape: positive where tissue is dead, zero at the rim.

        The logarithm of dose over threshold for doses that accumulate (-inf for none), kelvins beyond the threshold
        for extremes. Interpolate the level, not the dead voxels.
        """

    @abstractmethod
    def time_to_death_s(self, temperature_c: float) -> float:
        """Time at a constant temperature until tissue is dead; infinite where it never is."""

    @abstractmethod
    def isotherm_c(self, time_s: float) -> float:
        """Temperature that is just lethal when held for a time; raises PhysicsError for a time not above zero."""


def check_positive(what: str, value: float) -> None:
    """Raises PhysicsError for a parameter that is not a positive number."""
    if not (math.isfinite(value) and value > 0.0):
        raise PhysicsError(f"{what} must be a positive number, but is {value:g}")


def check_celsius(what: str, value: float) -> None:
    """Raises PhysicsError for a temperature that is none."""
    if not (math.isfinite(value) and value > ABSOLUTE_ZERO_C):
        raise PhysicsError(f"{what} must lie above {ABSOLUTE_ZERO_C} °C, but is {value:g}")
