"""The course of heating and the solver under it: steps of its own choice, what is held, films, order, errors."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from placed_needles import needle

from needleplan.ablation.bioheat.solver import BioheatSolver
from needleplan.ablation.heating import Delivery, HeatOptions, filled_from_beside
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.needle_contact import Contact
from needleplan.ablation.schedule import check_alike, check_times, checked_power_w, firings
from needleplan.ablation.tissue_map import Cylinder, TissueMap, Vessel
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.plan import Ablation, Insertion

LIVER, FAT = (builtin_tissues().tissue(name) for name in ("liver", "fat"))
SHAPE = (14, 13, 15)


def solver(**more):
    tissue = np.zeros(SHAPE, np.uint8)
    tissue[:, :4] = 1
    return BioheatSolver(SHAPE, 2.0, tissue, (LIVER, FAT), **more)


def source(solver, power=3e6):
    field = np.zeros(SHAPE, np.float32)
    field[5:8, 5:8, 6:9] = power
    return solver.padded(field)


@pytest.mark.parametrize("pieces", [1, 7, 60])
def test_the_time_is_cut_as_the_solver_needs_not_as_it_is_asked(pieces):
    whole, parts = solver(), solver()
    whole.advance(60.0, source(whole))
    heat = source(parts)
    for _ in range(pieces):
        parts.advance(60.0 / pieces, heat)
    assert parts.time_s == pytest.approx(60.0)
    rise = whole.temperature_c - 37.0
    # Long steps of the whole time lag behind short ones where the heat is made.
    assert np.abs(parts.temperature_c - whole.temperature_c).max() < 0.06 * rise.max()
    for one in (whole, parts):
        assert abs(one.ledger.residual) < 1e-4


def test_no_step_is_unstable_however_well_a_needle_conducts():
    """A face that conducts a thousand times better than tissue shortens the step; nothing overshoots."""
    for factor in (1.0, 30.0, 1000.0):
        one = solver()
        cell = np.array([[6, 7, 7]])
        steps = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
        contact = Contact(cell + steps, np.repeat(cell, 6, axis=0), np.full(6, factor))
        one.hold(cell, 90.0, contact)
        one.advance(40.0)
        assert one.temperature_c.max() <= 90.001 and one.temperature_c.min() >= 36.999
        assert one.temperature_c[7, 7, 7] > (50 if factor > 1 else 40)
        assert abs(one.ledger.residual) < 5e-4


def test_what_is_held_without_a_contact_forgets_the_last_one():
    cell = np.array([[6, 7, 7]])
    fresh, used = solver(), solver()
    used.hold(cell, 37.0, Contact(cell + np.array([1, 0, 0]), cell, np.array([50.0])))
    for one in (fresh, used):
        one.hold(cell, 80.0)
        one.advance(20.0)
    assert np.abs(fresh.temperature_c - used.temperature_c).max() < 1e-3


def test_released_cells_go_on_from_what_they_were():
    one = solver()
    one.hold(np.array([[6, 7, 7]]), 80.0)
    one.advance(30.0)
    one.hold(np.empty((0, 3), np.int64), np.empty(0))
    assert one.temperature_c[6, 7, 7] == pytest.approx(80.0, abs=0.01) and not one.holds
    one.advance(60.0)
    assert 37.0 < one.temperature_c[6, 7, 7] < 50.0
    assert abs(one.ledger.residual) < 1e-4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e12])
def test_an_impossible_source_is_noticed(bad):
    one = solver()
    with pytest.raises(PhysicsError, match="no longer finite"):
        one.advance(10.0, source(one, bad))


def test_refuses():
    one = solver()
    with pytest.raises(PhysicsError, match=r"float32 array of \(16, 15, 17\) cells \(padded\)"):
        one.advance(1.0, np.zeros(SHAPE, np.float32))
    with pytest.raises(PhysicsError, match="float32 array"):
        one.advance(1.0, np.zeros((16, 15, 17)))
    for time_s in (-1.0, float("nan")):
        with pytest.raises(PhysicsError, match="time to advance must not be negative"):
            one.advance(time_s)
    tissue = np.zeros(SHAPE, np.uint8)
    for arguments, words in (
        (((2, 9, 9), 2.0, np.zeros((2, 9, 9), np.uint8), (LIVER,)), "at least 3 cells a side"),
        ((SHAPE, 2.0, tissue[1:], (LIVER,)), "one tissue a cell"),
        ((SHAPE, -2.0, tissue, (LIVER,)), "spacing of the grid must be positive"),
    ):
        with pytest.raises(PhysicsError, match=words):
            BioheatSolver(*arguments)
    with pytest.raises(PhysicsError, match="perfusion factor must not be negative"):
        solver(perfusion_factor=float("nan"))


def test_metal_takes_the_mean_value_beside_it():
    level = np.arange(125, dtype=np.float32).reshape(5, 5, 5)
    metal = np.zeros((5, 5, 5), bool)
    metal[2, 2, 1:4] = True
    filled = filled_from_beside(level, metal)
    assert (filled[~metal] == level[~metal]).all()
    assert filled[2, 2, 2] == pytest.approx(62.0) and filled[2, 2, 1] == pytest.approx((27 * 61 - 61 - 62) / 25)
    # Deep inside thick metal it spreads from cell to cell; all metal or none changes nothing.
    metal[:] = True
    metal[0] = False
    deep = filled_from_beside(np.full_like(level, 7.0), metal)
    assert deep == pytest.approx(7.0)
    for every in (np.ones((5, 5, 5), bool), np.zeros((5, 5, 5), bool)):
        assert (filled_from_beside(level, every) == level).all()


def test_who_watches_does_not_change_what_happens():
    seen = []
    options = HeatOptions(spacing_mm=2.5, reach_mm=20.0, cool_down_s=20.0)
    watched = dataclasses.replace(options, observe=seen.append, observe_every_s=15.0)
    row = [needle("generic-mwa-2450", power_w=40.0, duration_s=60.0)]
    plain, looked = (MicrowaveModel(one).predict(row) for one in (options, watched))
    assert [one.time_s for one in seen] == pytest.approx([15, 30, 45, 60, 75])
    assert [one.power_w for one in seen] == pytest.approx([24, 24, 24, 24, 0])
    assert looked.zone.volume_ml == pytest.approx(plain.zone.volume_ml, rel=0.02)
    # Damage only grows; the field belongs to the grid.
    for before, after in pairwise(seen):
        assert (after.level >= before.level - 1e-4).all()
        assert before.temperature_c.shape == before.grid.shape == before.level.shape
    assert seen[-1].level.max() <= looked.fields["lethality"].values.max() + 1e-4


def row_of(*orders):
    return [needle("generic-mwa-2450", (9.0 * k, 0, 0), 30.0, 60.0, pulled_mm=(5,) * (k == 1), order=n)
            for k, n in enumerate(orders)]  # fmt: skip


def test_groups():
    row = row_of(2, 1, 3)
    together = firings(row, Delivery.SIMULTANEOUS)
    assert [len(group) for group in together] == [3, 1] and firings(row, Delivery.SWITCHED) == together
    assert together[1][0].insertion is row[1]
    turns = firings(row, Delivery.SEQUENTIAL)
    assert [group[0].insertion.order for group in turns] == [1, 1, 2, 3] and all(len(group) == 1 for group in turns)
    assert turns[0][0].ablation is row[1].ablations[0] and turns[1][0].ablation is row[1].ablations[1]
    # Without an order that of the list counts.
    assert [group[0].insertion for group in firings(row_of(1, 1, 1)[::2], Delivery.SEQUENTIAL)] == row_of(1, 1, 1)[
        ::2
    ]
    assert firings([], Delivery.SEQUENTIAL) == firings([], Delivery.SIMULTANEOUS) == ()


def test_where_a_part_of_a_needle_lies():
    firing = firings(row_of(1), Delivery.SEQUENTIAL)[0][0]
    part = firing.part(12.0, 3.0, 4.0)
    tip = np.asarray(firing.ablation.tip_mm)
    assert np.asarray(part.end_mm) == pytest.approx(tip - 4.0 * firing.direction)
    assert np.asarray(part.start_mm) == pytest.approx(tip - 16.0 * firing.direction)
    assert (part.radius_mm, part.length_mm) == (1.5, pytest.approx(12.0))


def test_times_and_powers():
    for bad in (0.0, -1.0, float("nan"), float("inf"), 7201.0):
        row = [dataclasses.replace(row_of(1)[0], ablations=(Ablation((0.0, 0.0, 0.0), 30.0, bad),))]
        with pytest.raises(DeviceError, match="must last above 0 and up to 7200 s"):
            check_times(row)
    assert checked_power_w("x", 30.0, None) == 30.0 == checked_power_w("x", 30.0, 30.0)
    for bad, words in (
        (None, "takes a power"),
        (0.0, "above 0 W"),
        (float("inf"), "above 0 W"),
        (31.0, "at most 30 W"),
    ):
        with pytest.raises(DeviceError, match=words):
            checked_power_w("x", bad, 30.0)
    check_alike(firings(row_of(1, 2), Delivery.SIMULTANEOUS))
    mixed = [row_of(1)[0], needle("generic-mwa-2450", (9, 0, 0), 30.0, 61.0)]
    with pytest.raises(DeviceError, match="same duration"):
        check_alike(firings(mixed, Delivery.SIMULTANEOUS))
    check_alike(firings(mixed, Delivery.SEQUENTIAL))


def test_what_lies_off_the_path_or_out_of_the_patient_is_refused_or_told():
    def placed(tip, depth):
        return Insertion((0.0, -depth, 0.0), (0.0, 0.0, 0.0), "generic-mwa-2450", (Ablation(tip, 40.0, 30.0),))

    model = MicrowaveModel(HeatOptions(spacing_mm=3.0, reach_mm=24.0))
    for tip in ((30.0, 0.0, 0.0), (0.0, 5.0, 0.0), (0.0, -95.0, 0.0)):
        with pytest.raises(PhysicsError, match="lies off its needle"):
            model.predict([placed(tip, 90.0)])
    shallow = model.predict([placed((0.0, 0.0, 0.0), 8.0)])
    assert any("reaches out of the entry" in note for note in shallow.notes)
    deep = model.predict([placed((0.0, 0.0, 0.0), 90.0)])
    assert not any("reaches out of the entry" in note for note in deep.notes)
    across = Cylinder((-60.0, -12.0, 0.0), (60.0, -12.0, 0.0), 5.0)
    pierced = model.predict(
        [placed((0.0, 0.0, 0.0), 90.0)], TissueMap(model.tissue, (), (Vessel("vein", across, 10.0),))
    )
    assert any("runs through an open vessel" in note for note in pierced.notes)


def test_steps_too_short_to_end_are_refused_before_they_begin():
    tissue = builtin_tissues().tissue("liver")
    for wrong in (tissue.changed(perfusion_per_s=1e6), tissue.changed(density_kg_m3=1e-3)):
        with pytest.raises(PhysicsError, match="would have to step by"):
            MicrowaveModel(HeatOptions(spacing_mm=3.0)).predict(
                [Insertion((0, -90, 0), (0, 0, 0), "generic-mwa-2450", (Ablation((0, 0, 0), 40.0, 30.0),))],
                TissueMap(wrong),
            )
    with pytest.raises(DeviceError, match="above zero from 0 to 100 C"):
        MicrowaveModel(HeatOptions(spacing_mm=3.0)).predict(
            [Insertion((0, -90, 0), (0, 0, 0), "generic-mwa-2450", (Ablation((0, 0, 0), 40.0, 30.0),))],
            TissueMap(tissue.changed(thermal_conductivity_per_k=-0.05)),
        )
