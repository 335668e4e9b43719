"""Options of a plan of strangers: each must be of the type that the option has."""

import pytest

from needleplan.coverage.options import CoverageOptions, ThermalMargins
from needleplan.errors import OptionError
from needleplan.plan import Plan, PlanStatus, Provenance
from needleplan.plan_options import options_of
from needleplan.trajectory.ranking import LARGEST_WEIGHT, ObjectiveWeights
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits

KINDS = {
    "coverage": CoverageOptions,
    "thermal": ThermalMargins,
    "sampling": SamplingOptions,
    "limits": PathLimits,
    "weights": ObjectiveWeights,
}


def made_with(**options: object) -> Plan:
    made = Provenance("1", {name.replace("__", "."): value for name, value in options.items()}, 0, {})
    return Plan("case", "hash", PlanStatus.PARTIAL, (), (), None, {}, 0, 0, None, made)


def test_options_are_read_back_and_others_have_their_default():
    plan = made_with(coverage__margin_mm=7, coverage__most_nodes=None, coverage__levels="insertions", seed=3)
    assert options_of(CoverageOptions, "coverage", plan) == CoverageOptions(margin_mm=7.0, levels="insertions")
    assert options_of(PathLimits, "limits", plan) == PathLimits()
    largest = made_with(weights__length=LARGEST_WEIGHT)
    assert options_of(ObjectiveWeights, "weights", largest).length == LARGEST_WEIGHT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coverage.levels", None),
        ("coverage.levels", 1),
        ("coverage.margin_mm", "five"),
        ("coverage.margin_mm", True),
        ("coverage.margin_mm", None),
        ("coverage.maximum_insertions", 2.5),
        ("coverage.maximum_insertions", "x" * 5000),
        ("coverage.needles_at_once", False),
        ("thermal.bowel_mm", "5"),
        ("sampling.entry_spacing_mm", "x"),
        ("sampling.aim_count", None),
        ("limits.soft", None),
        ("limits.approach_side", 3),
        ("weights.length", "much"),
        ("weights.length", None),
        ("weights.length", True),
    ],
)
def test_an_option_of_another_type_is_refused_by_its_name(name, value):
    prefix = name.split(".")[0]
    with pytest.raises(OptionError, match=f"^the plan's option {name} ") as refusal:
        options_of(KINDS[prefix], prefix, made_with(**{name: value}))
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 200


@pytest.mark.parametrize("weight", [1e308, 1.01 * LARGEST_WEIGHT, -1.0])
def test_a_weight_that_no_cost_can_be_computed_with_is_refused(weight):
    with pytest.raises(OptionError, match=r"^the plan's options of weights: objective weights must be"):
        options_of(ObjectiveWeights, "weights", made_with(weights__length=weight))
