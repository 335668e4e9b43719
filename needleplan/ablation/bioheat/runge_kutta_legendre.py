"""Weights of the Runge-Kutta-Legendre steps of second order (RKL2).

Meyer, Balsara and Aslam, "A stabilized Runge-Kutta-Legendre method for explicit super-time-stepping of parabolic
and mixed equations", J Comput Phys 2014;257:594, equations 16 to 20: s stages allow a step (s^2 + s - 2) / 4
times the greatest stable one of explicit Euler.
"""

from typing import NamedTuple

#: Odd numbers of stages, as the authors advise.
STAGES = (3, 5, 7, 9, 11, 13)


class StageWeights(NamedTuple):
    """Y_j = Y_0 + previous (Y_j-1 - Y_0) + older (Y_j-2 - Y_0) + rate_s L(Y_j-1) + first_rate_s L(Y_0).

    Attributes:
        previous, older: weights of the two stages before.
        rate_s, first_rate_s: times of the rate at the stage before and at the start, s.
    """

    previous: float
    older: float
    rate_s: float
    first_rate_s: float


def step_over_euler(stages: int) -> float:
    """Greatest stable step over that of explicit Euler."""
    return (stages**2 + stages - 2) / 4.0


def stage_weights(stages: int, step_s: float) -> list[StageWeights]:
    """Weights of all stages of a step."""
    b = [1.0 / 3.0] * 3 + [(j * j + j - 2.0) / (2.0 * j * (j + 1.0)) for j in range(3, stages + 1)]
    w1 = 4.0 / (stages**2 + stages - 2.0)
    weights = [StageWeights(1.0, 0.0, b[1] * w1 * step_s, 0.0)]
    for j in range(2, stages + 1):
        mu = (2.0 * j - 1.0) / j * b[j] / b[j - 1]
        rate_s = mu * w1 * step_s
        weights.append(StageWeights(mu, -(j - 1.0) / j * b[j] / b[j - 2], rate_s, -(1.0 - b[j - 1]) * rate_s))
    return weights
