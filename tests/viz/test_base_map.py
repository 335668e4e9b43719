import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.viz.base_map import BasePlaces, draw_base_map
from needleplan.viz.palette import HUB, NOT_ABLATED, SKIN_SCORES, rgb


def made(**changes) -> BasePlaces:
    x, y = np.meshgrid([-0.6, -0.4, 0.4, 0.6], [-0.2, 0.1])
    positions = np.stack([x.ravel(), y.ravel(), np.repeat([0.0, 0.2], 4)], axis=1)
    values = {
        "positions_m": positions,
        "insertions_reached": np.array([2, 2, 2, 1, 2, 2, 0, 2]),
        "insertion_count": 2,
        "alternatives_share": np.array([0.1, 0.4, 0.9, 0.0, 1.0, 0.6, 0.0, 0.3]),
        "usable": np.array([True] * 6 + [True, False]),
        "chosen": 4,
        "table_half_width_m": 0.25,
        "carried_out": 2,
        "outline_m": np.array([[-0.2, -0.3], [0.2, -0.3], [0.2, 0.3], [-0.2, 0.3]]),
    }
    return BasePlaces(**(values | changes))


def count(pixels: np.ndarray, color: str) -> int:
    wanted = np.round(255 * np.array(rgb(color)))
    return int((np.abs(pixels.astype(float) - wanted).max(axis=2) < 3).sum())


def test_places_take_the_colours_of_what_they_reach():
    pixels = draw_base_map(made(), title="places")
    assert pixels.dtype == np.uint8 and pixels.shape[1] == 1500
    for color in (*SKIN_SCORES, NOT_ABLATED, HUB):
        assert count(pixels, color) > 100
    better = draw_base_map(made(insertions_reached=np.full(8, 2)), title="places")
    assert count(better, NOT_ABLATED) < count(pixels, NOT_ABLATED)
    touching = draw_base_map(made(usable=np.zeros(8, dtype=bool)), title="places")
    # Only the key is left.
    assert count(touching, SKIN_SCORES[0]) < count(pixels, SKIN_SCORES[0])


def test_one_height_and_one_place_are_drawn_too():
    one = made(
        positions_m=np.array([[0.4, 0.0, -0.1]]), insertions_reached=np.array([1]),
        alternatives_share=np.array([1.0]),
        usable=np.array([True]), chosen=0, insertion_count=1,
    )  # fmt: skip
    assert draw_base_map(one, title="one place").shape[2] == 3
    plain, beside = (draw_base_map(made(scanner_m=scanner), title="places") for scanner in (None, (0.05, 0.7)))
    assert (plain != beside).any(axis=2).mean() > 0.02


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(OptionError, match="usable"):
        made(usable=np.ones(3, dtype=bool))
    with pytest.raises(OptionError, match="one of 8"):
        made(chosen=8)
