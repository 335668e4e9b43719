"""Compiled loops that follow damage and stop the perfusion of coagulated tissue."""

from typing import Any

import numpy as np

from needleplan.ablation.bioheat.enthalpy import HEAT, temperature
from needleplan.ablation.damage import arrhenius_mean_rate_per_s, arrhenius_rate_per_s
from needleplan.ablation.dose import advanced_dose
from needleplan.compiled import compiled, compiled_parallel, prange


@compiled_parallel
def advance_doses(
    before: Any,
    after: Any,
    tissue: Any,
    table: Any,
    kinds: Any,
    parameters: Any,
    doses: Any,
    warm_c: Any,
    cool_c: Any,
    stasis: Any,
    stasis_parameters: Any,
    rest_sinks: Any,
    held: Any,
    sink: Any,
    step_s: Any,
    box: Any,
    extremes: Any,
) -> None:
    """Doses of all criteria, stasis and perfusion after a step, within a box.

    Args:
        before, after: enthalpy temperatures at both ends of the step.
        tissue, table: as in ``kernels.stage``.
        kinds, parameters: (n,) and (n, 2) of each criterion.
        doses: (n, ...) float32.
        warm_c, cool_c: cells between these temperatures at both ends gather no dose.
        stasis: Arrhenius integral of microvascular stasis, empty where the perfusion does not stop.
        stasis_parameters: (2,) ln A and Ea/R.
        rest_sinks, sink: perfusion over heat capacity before treatment (of each tissue) and now (of each cell),
            1/s.
        held: cells held at a temperature, which have no perfusion.
        step_s: length of the step.
        box: (6,) begin and end of the cells along each axis.
        extremes: (nx, 3) out: hottest and coldest temperature of each slab, and the greatest rate of change in K/s
            of tissue between 43 and 65 C, where damage is decided.
    """
    stops = stasis.size > 0
    for i in prange(box[0], box[1]):
        hottest, coldest, fastest = -1e30, 1e30, 0.0
        for j in range(box[2], box[3]):
            for k in range(box[4], box[5]):
                m = tissue[i, j, k]
                p = table[m]
                t1 = np.float64(temperature(after[i, j, k], p))
                if not np.isfinite(t1):
                    hottest = np.inf
                hottest = max(hottest, t1)
                coldest = min(coldest, t1)
                if cool_c < t1 < warm_c:
                    t0 = np.float64(before[i, j, k])
                    if cool_c < t0 < warm_c:
                        continue
                t0 = np.float64(temperature(before[i, j, k], p))
                if (43.0 < t1 < 65.0 or 43.0 < t0 < 65.0) and t1 > t0:
                    fastest = max(fastest, (t1 - t0) / step_s)
                for n in range(kinds.shape[0]):
                    doses[n, i, j, k] = min(
                        advanced_dose(
                            kinds[n],
                            parameters[n, 0],
                            parameters[n, 1],
                            np.float64(doses[n, i, j, k]),
                            t0,
                            t1,
                            step_s,
                        ),
                        1e36,
                    )
                if stops and stasis[i, j, k] < np.float32(20.0) and not held[i, j, k]:
                    stasis[i, j, k] += step_s * arrhenius_mean_rate_per_s(
                        t0, t1, stasis_parameters[0], stasis_parameters[1]
                    )
                    # As it will be in the middle of a next step like this one: the lag of half a step would
                    # perfuse tissue that has already shut down, and make zones some per cent smaller.
                    ahead = 0.5 * step_s * arrhenius_rate_per_s(t1, stasis_parameters[0], stasis_parameters[1])
                    sink[i, j, k] = rest_sinks[m] * np.exp(-(stasis[i, j, k] + ahead))
        extremes[i, 0], extremes[i, 1], extremes[i, 2] = hottest, coldest, fastest


@compiled
def scale_to_hold(
    before: Any,
    after: Any,
    source: Any,
    held: Any,
    tissue: Any,
    table: Any,
    last_scale: Any,
    step_s: Any,
    limit_c: Any,
    horizon_s: Any,
    box: Any,
) -> Any:
    """Least over the heated cells of the source's scale that brings a cell to ``limit_c`` within ``horizon_s``.

    Cells more than 40 K below the limit do not bind; see ``BioheatSolver.scale_to_hold``.
    """
    least = np.inf
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            for k in range(box[4], box[5]):
                if held[i, j, k] or source[i, j, k] <= 0.0 or after[i, j, k] < limit_c - 40.0:
                    continue
                gain = source[i, j, k] / table[tissue[i, j, k], HEAT]
                passive = (after[i, j, k] - before[i, j, k]) / step_s - last_scale * gain
                least = min(least, ((limit_c - after[i, j, k]) / horizon_s - passive) / gain)
    return max(least, 0.0)
