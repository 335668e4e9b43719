"""The command that predicts a zone in a block of tissue: every modality, what is written, every refusal."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.app.cli import main
from needleplan.app.zone import ZoneQuestion
from needleplan.app.zone_answer import answer_of, place_words, setting_words
from needleplan.app.zone_models import (
    LEAST_SNAPSHOTS,
    active_parts,
    expected_s,
    model_for,
    shafts,
    snapshot_every_s,
)
from needleplan.errors import NeedleplanError, OptionError

MWA = ["generic-mwa-2450", "--power-w", "60"]
COARSE = ["--spacing-mm", "3", "--reach-mm", "24", "--duration-s", "60"]
VESSEL = ["--vessel-diameter-mm", "6", "--vessel-distance-mm", "9"]
PAIR = ["--probes", "2", "--distance-mm", "15"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(["zone", *arguments])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def figures(capsys, tmp_path: Path, *arguments: str) -> dict:
    path = tmp_path / "figures.json"
    code, out, err = run(capsys, *arguments, "--json", str(path))
    assert code == 0 and not err, err
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["schema"] == "needleplan.zone" and content["version"] == 1
    # What is printed is what is written.
    row = next(line for line in out.splitlines() if line.strip("│┃ ").startswith("volume, ml"))
    assert re.findall(r"\d+\.\d", row)[0] == f"{content['axes']['volume_ml']:.1f}"
    assert content["criterion"] in out and content["model"] in out
    return content


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([*MWA, *COARSE], id="microwave"),
        pytest.param(["generic-rfa-cooled-20", *COARSE, "--duration-s", "120"], id="radiofrequency"),
        pytest.param(["generic-cryo-17g-30", "--spacing-mm", "3", "--freezes", "1"], id="cryo"),
        pytest.param(
            ["generic-laser-diffuser-10", "--power-w", "8", "--spacing-mm", "1.4", "--duration-s", "60"], id="laser"
        ),
        pytest.param(["generic-ire-19g-15", *PAIR, "--spacing-mm", "1.5"], id="electroporation"),
        pytest.param(["generic-ect-needle-30", *PAIR, "--spacing-mm", "1.5"], id="electrochemotherapy"),
        pytest.param([*MWA, "--model", "fast", "--duration-s", "60"], id="superposition"),
        pytest.param(["generic-ire-19g-15", *PAIR, "--model", "fast"], id="cassini"),
        pytest.param([*MWA, "--model", "table"], id="table"),
    ],
)
def test_every_modality_gives_a_zone_about_the_active_part(arguments, capsys, tmp_path):
    content = figures(capsys, tmp_path, *arguments)
    axes = content["axes"]
    assert 0.2 < axes["volume_ml"] < 60
    assert axes["length_mm"] == pytest.approx(axes["ahead_of_tip_mm"] + axes["behind_tip_mm"])
    assert axes["least_diameter_mm"] <= axes["largest_diameter_mm"]
    # The zone lies about the active part and not elsewhere.
    assert -3.0 < axes["ahead_of_tip_mm"] < axes["behind_tip_mm"] < 45
    assert 0 < axes["sphericity"] <= 1
    assert content["notes"]


def test_bounds_by_other_criteria_hold_the_zone_between_them(capsys, tmp_path):
    content = figures(capsys, tmp_path, *MWA, *COARSE)
    volumes = [axes["volume_ml"] for axes in content["other_axes"].values()]
    assert len(volumes) == 2 and volumes[0] > content["axes"]["volume_ml"] > volumes[1]
    named = {item["name"]: item["value"] for item in content["quantities"]}
    assert named["volume"] == pytest.approx(content["axes"]["volume_ml"])


def test_the_zone_table_stands_beside_where_it_has_the_setting(capsys, tmp_path):
    content = figures(capsys, tmp_path, *MWA, "--spacing-mm", "3", "--duration-s", "120")
    size = EllipsoidTableModel().table("generic-mwa-2450").size(60.0, 120.0)
    assert content["table_axes"]["length_mm"] == pytest.approx(size.axial_length_mm, rel=2e-3)
    assert content["table_axes"]["largest_diameter_mm"] == pytest.approx(size.diameter_mm, rel=2e-3)
    ex_vivo = figures(capsys, tmp_path, *MWA, "--spacing-mm", "3", "--duration-s", "120", "--setting", "ex_vivo")
    assert ex_vivo["table_axes"]["volume_ml"] != content["table_axes"]["volume_ml"]
    # 61 s are in the table of 1 to 10 minutes, 50 s are not; two probes are in no table.
    shorter = figures(capsys, tmp_path, *MWA, "--spacing-mm", "3", "--duration-s", "50")
    assert shorter["table_axes"] is None
    two = figures(capsys, tmp_path, *MWA, "--spacing-mm", "3", "--duration-s", "60", *PAIR)
    assert two["table_axes"] is None


@pytest.mark.parametrize("course", ["parallel", "across"])
def test_a_vessel_beside_the_needle_takes_from_the_zone(course, capsys, tmp_path):
    alone = figures(capsys, tmp_path, *MWA, *COARSE, "--duration-s", "120")
    cooled = figures(capsys, tmp_path, *MWA, *COARSE, "--duration-s", "120", *VESSEL, "--vessel", course)
    assert cooled["axes"]["volume_ml"] < 0.97 * alone["axes"]["volume_ml"]
    assert cooled["axes"]["least_diameter_mm"] < alone["axes"]["least_diameter_mm"]
    assert not any("changes nothing" in note for note in cooled["notes"])


def test_a_vessel_that_changes_nothing_is_told(capsys, tmp_path):
    alone = figures(capsys, tmp_path, *MWA, *COARSE)
    for diameter, distance, words in (("2", "9", "below 3 mm"), ("6", "60", "beyond the box")):
        asked = ["--vessel-diameter-mm", diameter, "--vessel-distance-mm", distance]
        content = figures(capsys, tmp_path, *MWA, *COARSE, *asked)
        assert content["axes"] == alone["axes"]
        assert any("changes nothing" in note and words in note for note in content["notes"])


def test_more_perfusion_leaves_less_and_more_probes_leave_more(capsys, tmp_path):
    volumes = [
        figures(capsys, tmp_path, *MWA, *COARSE, *more)["axes"]["volume_ml"]
        for more in (["--perfusion-factor", "4"], [], PAIR)
    ]
    assert volumes == sorted(volumes) and volumes[2] > 1.5 * volumes[1]


@pytest.mark.long
def test_pictures_and_film(capsys, tmp_path):
    folder = tmp_path / "deep" / "zone"
    code, out, err = run(capsys, *MWA, *COARSE, *VESSEL, "--out", str(folder), "--film")
    assert code == 0 and not err
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "growth.mp4",
        "growth.png",
        "isotherms.png",
        "section.png",
        "times.png",
        "zone.json",
        "zones.png",
    ]
    for name in names:
        assert str(folder / name) in out
        if name.endswith(".png"):
            assert np.asarray(Image.open(folder / name)).std() > 10
    reader = imageio_ffmpeg.read_frames(str(folder / "growth.mp4"))
    assert next(reader)["size"] == (1280, 720)
    assert sum(1 for _ in reader) >= LEAST_SNAPSHOTS
    # A later answer of another kind does not leave the old film behind.
    code, _, _ = run(capsys, *MWA, "--model", "table", "--out", str(folder))
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["zone.json", "zones.png"]


def test_the_same_question_has_the_same_answer(capsys, tmp_path):
    first = figures(capsys, tmp_path, *MWA, *COARSE)
    assert figures(capsys, tmp_path, *MWA, *COARSE) == first


def test_nothing_destroyed_is_said(capsys, tmp_path):
    code, out, err = run(capsys, "generic-mwa-2450", "--power-w", "0.1", *COARSE, "--out", str(tmp_path / "o"))
    assert code == 0 and not err
    assert "nothing is destroyed" in out
    assert json.loads((tmp_path / "o" / "zone.json").read_text())["axes"]["volume_ml"] == 0.0


REFUSED = [
    (["no-such-needle"], "no applicator is named"),
    (["generic-mwa-2450"], "give --power-w"),
    ([*MWA[:1], "--power-w", "500"], "at most 140 W"),
    ([*MWA[:1], "--power-w", "nan"], "--power-w must be a positive number"),
    ([*MWA[:1], "--power-w", "sixty"], "--power-w must be a number"),
    ([*MWA[:1], "--power-w=-60"], "--power-w must be a positive number"),
    ([*MWA, "--duration-s", "0"], "--duration-s must be a positive number"),
    ([*MWA, "--duration-s", "inf"], "--duration-s must be a positive number"),
    ([*MWA, "--duration-s", "90000"], "up to 7200 s"),
    ([*MWA, "--vessel-diameter-mm", "6", "--vessel-distance-mm", "4"], "would pierce the vessel"),
    ([*MWA, "--vessel-diameter-mm", "6"], "needs both"),
    ([*MWA, "--vessel", "across"], "--vessel needs"),
    (["generic-rfa-umbrella-40", *VESSEL], "would pierce the vessel"),
    ([*MWA, "--tissue", "cheese"], "no tissue is named"),
    ([*MWA, "--perfusion-factor=-1"], "--perfusion-factor must be zero or more"),
    ([*MWA, "--probes", "7", "--distance-mm", "20"], "--probes must be from 1 to 4"),
    ([*MWA, "--probes", "2"], "--probes needs --distance-mm"),
    ([*MWA, "--distance-mm", "20"], "--distance-mm is for --probes 2"),
    ([*MWA, "--probes", "2", "--distance-mm", "2"], "larger than the probe's diameter"),
    ([*MWA, "--spacing-mm", "0.01"], "between 0.1 and 10 mm"),
    ([*MWA, "--spacing-mm", "3", "--reach-mm", "12.5", "--duration-s", "1200"], "too small for the zone"),
    ([*MWA, "--delivery", "switched"], "not switched"),
    ([*MWA, "--pulses", "90"], "--pulses is for electric pulses"),
    ([*MWA, "--freezes", "2"], "--freezes is for cryoprobes"),
    ([*MWA, "--film"], "--film needs a folder"),
    ([*MWA, "--model", "table", "--duration-s", "5000"], "outside the table"),
    ([*MWA, "--model", "table", *VESSEL], "knows no vessels"),
    ([*MWA, "--model", "table", "--tissue", "kidney"], "--tissue has no part"),
    ([*MWA, "--model", "fast", "--spacing-mm", "2"], "--spacing-mm is for --model solver"),
    (["generic-rfa-cooled-20", "--model", "fast"], "no fast model knows RFA"),
    (["perfusion-mwa-pmc3438625"], "ask for --model table"),
    (["generic-cryo-17g-30", "--power-w", "20"], "takes no power"),
    (["generic-cryo-17g-30", "--freezes", "0"], "--freezes must be a positive number"),
    (["generic-cryo-17g-30", "--freezes", "1", "--thaw-s", "60"], "between two freezes"),
    (["generic-ire-19g-15"], "place two or more"),
    (["generic-ire-19g-15", *PAIR, "--duration-s", "60"], "not --duration-s"),
    (["generic-ire-19g-15", "--probes", "2", "--distance-mm", "60"], "near enough"),
    (["generic-ire-19g-15", "--voltage-v", "2000"], "--voltage-v lies between two electrodes"),
    (["generic-laser-diffuser-10", "--power-w", "5", "--spacing-mm", "3"], "cannot resolve light"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=[" ".join(row[0]) for row in REFUSED])
def test_bad_input_is_one_sentence_and_writes_nothing(arguments, words, capsys, tmp_path):
    folder, file = tmp_path / "out", tmp_path / "zone.json"
    extra = ["--json", str(file)] if "--film" in arguments else ["--json", str(file), "--out", str(folder)]
    code, _, err = run(capsys, *arguments, *extra)
    assert code == 2
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("needleplan: error: ") and words in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_told_before_the_computation(capsys, tmp_path):
    (tmp_path / "file").write_text("kept")
    for arguments in (
        ["--out", str(tmp_path / "file")],
        ["--out", str(tmp_path / "file" / "x")],
        ["--json", str(tmp_path)],
    ):
        start = time.thread_time()
        code, out, err = run(capsys, *MWA, *arguments)
        assert code == 2 and err.count("\n") == 1 and "computing" not in out
        assert time.thread_time() - start < 2
    assert (tmp_path / "file").read_text() == "kept"
    film = ["generic-ire-19g-15", *PAIR, "--film", "--out", str(tmp_path / "ire")]
    code, _, err = run(capsys, *film)
    assert code == 2 and "--film shows a zone that grows" in err


def test_help_answers_at_once():
    command = [sys.executable, "-X", "importtime", "-m", "needleplan", "zone", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--vessel-diameter-mm" in done.stdout
    # Without numpy there is nothing that takes long.
    assert not re.search(r"\bnumpy\b|\bnumba\b|\brich\b", done.stderr)


def test_probes_stand_side_by_side_and_the_vessel_beside_the_first():
    for probes, distances in ((2, [15.0]), (3, [15.0] * 3), (4, [15.0] * 4)):
        question = ZoneQuestion("generic-ire-19g-15", probes=probes, distance_mm=15.0)
        tips = np.array([one.tip_mm for one in question.insertions])
        between = [np.linalg.norm(a - b) for i, a in enumerate(tips) for b in tips[i + 1 :]]
        assert sorted(between)[: len(distances)] == pytest.approx(distances)
        assert {tuple(one.direction) for one in question.insertions} == {(0.0, 1.0, 0.0)}
    for across in (False, True):
        question = ZoneQuestion(
            "generic-cryo-17g-30", probes=4, distance_mm=15.0, vessel_diameter_mm=6.0, vessel_distance_mm=9.0,
            vessel_across=across,
        )  # fmt: skip
        vessel = question.vessel
        assert vessel is not None
        points = np.linspace(vessel.start_mm, vessel.end_mm, 4001)
        for number, one in enumerate(question.insertions):
            needle = np.linspace(one.entry_mm, one.tip_mm, 241)
            apart = np.linalg.norm(points[None, ::10] - needle[:, None], axis=2).min()
            assert apart == pytest.approx(9.0, abs=0.1) if number == 0 else apart > 8.9


def test_parts_are_those_of_the_applicator():
    umbrella = ZoneQuestion("generic-rfa-umbrella-40")
    assert len(active_parts(umbrella)) > 10 and len(shafts(umbrella)) == 1
    cluster = ZoneQuestion("generic-rfa-cluster-25")
    assert len(active_parts(cluster)) == len(shafts(cluster)) == 3
    for part, shaft in zip(active_parts(cluster), shafts(cluster), strict=True):
        assert shaft.end_mm == part.start_mm
    antenna = ZoneQuestion("generic-mwa-2450", power_w=60.0)
    assert active_parts(antenna)[0].length_mm == pytest.approx(20.0)
    assert shafts(antenna)[0].end_mm == active_parts(antenna)[0].start_mm


def test_snapshots_meet_the_end_of_the_energy():
    for duration_s in (60.0, 300.0, 720.0, 100.0):
        question = ZoneQuestion("generic-mwa-2450", power_w=60.0, duration_s=duration_s)
        every = snapshot_every_s(question)
        assert expected_s(question) / every >= LEAST_SNAPSHOTS
        assert duration_s / every == pytest.approx(round(duration_s / every))
    odd = ZoneQuestion("generic-mwa-2450", power_w=60.0, duration_s=61.7)
    assert expected_s(odd) / snapshot_every_s(odd) >= LEAST_SNAPSHOTS - 1e-9
    seen = []
    short = ZoneQuestion("generic-mwa-2450", power_w=60.0, duration_s=60.0, spacing_mm=3.0, reach_mm=24.0)
    answer_of(short, seen.append)
    assert any(abs(one.time_s - 60.0) < 1e-6 and one.power_w > 0 for one in seen)
    assert seen[-1].time_s == pytest.approx(expected_s(short))


def test_settings_in_words():
    cryo = ZoneQuestion("generic-cryo-17g-30", duration_s=480.0, freezes=3)
    assert setting_words(cryo) == "3 freezes of 8 min, thaws of 5 min"
    assert cryo.treatment_s == 3 * 480.0 + 2 * 300.0 == expected_s(cryo)
    rfa = ZoneQuestion("generic-rfa-cooled-30", vessel_diameter_mm=5.0, vessel_distance_mm=12.0)
    assert setting_words(rfa) == "the generator's own power for 12 min"
    assert place_words(rfa) == "liver, a vessel of 5 mm along the needle at 12 mm"
    switched = ZoneQuestion("generic-rfa-cooled-30", probes=3, distance_mm=15.0, delivery="switched")
    assert setting_words(switched).endswith("3 probes 15 mm apart, switched")
    pulses = ZoneQuestion("generic-ire-19g-15", voltage_v=2700.0, pulses=70, probes=2, distance_mm=15.0)
    assert setting_words(pulses) == "70 pulses of 1800 V/cm over the distance, 2 probes 15 mm apart"


def test_models_follow_the_applicator_and_refuse_what_they_do_not_know():
    for name, kind, more in (
        ("generic-mwa-915", "MicrowaveModel", {"power_w": 40.0}),
        ("generic-rfa-bipolar-30", "RadiofrequencyModel", {}),
        ("iceforce-2.1-recalled", "CryoModel", {}),
        ("generic-laser-bare-600um", "LaserModel", {"power_w": 2.0}),
        ("generic-ect-needle-30", "ElectroporationModel", {}),
    ):
        assert type(model_for(ZoneQuestion(name, **more))).__name__ == kind
    pulses = ZoneQuestion("generic-ire-19g-15", probes=2, distance_mm=15.0, delivery="sequential")
    with pytest.raises(OptionError, match="no part in electric pulses"):
        model_for(pulses)
    with pytest.raises(NeedleplanError, match="threshold"):
        model_for(ZoneQuestion("generic-ire-19g-15", probes=2, distance_mm=15.0, tissue="bile"))
