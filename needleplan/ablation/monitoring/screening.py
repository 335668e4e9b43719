"""Readings that cannot be true: single outliers, and sensors that contradict the others."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.monitoring.assimilation import ReadingTable, SharedErrors
from needleplan.ablation.monitoring.emulator import FactorDesign
from needleplan.ablation.monitoring.posterior import Posterior
from needleplan.frames import FloatArray
from needleplan.plan import Evidence

Fit = Callable[[ReadingTable], Posterior]
Shared = Callable[[ReadingTable, FloatArray], SharedErrors]

#: Standard deviations from which a single reading is an outlier; one true reading in two million is.
OUTLIER = 5.0
#: Degrees of freedom of Student's t in the fit that finds outliers, and its rounds (Lange, Little and Taylor, J Am
#: Stat Assoc 1989;84:881).
_FREEDOM, _ROUNDS = 4.0, 8
#: Standard deviations from which a sensor contradicts what the others say.
CONTRADICTION = 4.0
#: Step of the sensitivities, standard deviations of the prior.
_STEP = 0.05


def screened(
    table: ReadingTable,
    fit: Fit,
    shared: Shared,
    design: FactorDesign,
    body_temperature_c: float,
    names: Sequence[str],
) -> tuple[ReadingTable, list[Evidence]]:
    """The readings that can be true, and what is wrong with the others.

    A sensor is set aside only where two others at least agree without it: of two that contradict each other none
    can be called wrong, and one alone is contradicted by nothing but the prior.
    """
    evidence: list[Evidence] = []
    if not len(table.value_c):
        return table, evidence
    far = outliers(table, fit, shared, design)
    for sensor in np.unique(table.sensor[far]):
        own = table.sensor == sensor
        evidence.append(
            Evidence(
                names[sensor],
                f"{np.count_nonzero(far & own)} of {np.count_nonzero(own)} readings lie more than {OUTLIER:g} "
                "standard deviations off and are not used",
                "look for interference, motion or a loose contact",
            )
        )
    table = table.chosen(~far)
    while len(left := [int(sensor) for sensor in np.unique(table.sensor)]) > 1:
        off = {sensor: contradiction(table, sensor, fit, shared, design, body_temperature_c) for sensor in left}
        worst = max(left, key=lambda sensor: abs(off[sensor]))
        if abs(off[worst]) < CONTRADICTION:
            break
        said = (
            f"reads {'warmer' if off[worst] > 0 else 'colder'} than the model and the other sensors allow, by "
            f"{abs(off[worst]):.0f} standard deviations"
        )
        if len(left) == 2:
            evidence.append(
                Evidence(
                    names[worst],
                    f"{said}; both sensors are used",
                    f"check {names[left[0]]!r} and {names[left[1]]!r}: of two sensors none can be called wrong",
                )
            )
            break
        evidence.append(Evidence(names[worst], f"{said}, and is not used", "check its place and contact"))
        table = table.chosen(table.sensor != worst)
    return table, evidence


def outliers(table: ReadingTable, fit: Fit, shared: Shared, design: FactorDesign) -> NDArray[np.bool_]:
    """(n,) readings that lie far from what their own sensor shows otherwise.

    The fit takes noise of Student's t, in which outliers weigh little; each group's shared error is taken off
    before a reading is judged, so that a sensor that is wrong throughout is no row of outliers.
    """
    widened, apart = np.ones(len(table.value_c)), np.zeros(len(table.value_c))
    for _ in range(_ROUNDS):
        variance = table.variance_c2 * widened
        centre = fit(table.with_variance(variance)).mean
        residual = table.value_c - table.predicted_c @ design.weights(centre[None])[0]
        explained = shared(table, centre).explained(residual, variance)
        apart = (residual - explained) / np.sqrt(table.variance_c2)
        widened = (_FREEDOM + apart**2) / (_FREEDOM + 1.0)
    return np.abs(apart) > OUTLIER


def contradiction(
    table: ReadingTable, sensor: int, fit: Fit, shared: Shared, design: FactorDesign, body_temperature_c: float
) -> float:
    """By how many standard deviations a sensor's readings lie off, on the whole, from what all others predict.

    The prediction has the posterior of the others for the factors, and the shared errors of this sensor. Looked at
    are an offset and a share of the predicted rise, each fitted to the residuals alone and set over its standard
    deviation; the worse of both counts.
    """
    own = table.sensor == sensor
    others = fit(table.chosen(~own))
    mine, centre = table.chosen(own), others.mean
    steps = _STEP * np.eye(len(centre))
    slopes = (design.weights(centre + steps) - design.weights(centre - steps)) / (2.0 * _STEP)
    predicted = mine.predicted_c @ design.weights(centre[None])[0]
    residual = mine.value_c - predicted
    looked_at = np.column_stack([residual, np.ones(len(residual)), predicted - body_temperature_c])
    products = shared(mine, centre).products(
        np.column_stack([looked_at, mine.predicted_c @ slopes.T]), mine.variance_c2
    )
    # The uncertainty of the factors joins the covariance by Woodbury's identity once more.
    inner = np.linalg.inv(others.covariance + 1e-9 * np.eye(len(centre))) + products[3:, 3:]
    full = products[:3, :3] - products[:3, 3:] @ np.linalg.solve(inner, products[3:, :3])
    # A sensor that has seen no warmth yet has no rise to be off from.
    off = full[0, 1:] / np.sqrt(np.maximum(np.diag(full)[1:], 1e-12))
    return float(off[np.abs(off).argmax()])
