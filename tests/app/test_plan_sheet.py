"""The plan on one page: it says what the plan says, is whole in itself, and shows hostile words as words."""

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_cases import ball, box

from needleplan.anatomy.build import build_anatomy
from needleplan.app.plan_sheet import sheet_html
from needleplan.app.plan_sheet_drawing import axial_drawing
from needleplan.app.report_template import Html
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.io.plan_file import plan_hash
from needleplan.plan import (
    Ablation,
    Evidence,
    Insertion,
    Likelihood,
    Metrics,
    PhysicsVerdict,
    Plan,
    PlanStatus,
    Provenance,
)
from needleplan.viz.slices import draw_axial_slice


def case(position: PatientPosition = PatientPosition.SUPINE, name: str = "made") -> Case:
    parts = (
        Structure("body", Role.SKIN, box((-150, -100, -120), (150, 100, 120))),
        Structure("tumour", Role.TARGET, ball((-40, 0, 10), 12)),
        Structure("aorta", Role.VESSEL, box((20, 20, -120), (40, 40, 120))),
    )
    return Case(name, parts, position, "ab" * 32, up=position.up)


def needle(order: int = 1, **changes) -> Insertion:
    values = dict(
        entry_mm=(-100.0, -90.0, -20.0), tip_mm=(-40.0, 0.0, 10.0), applicator="probe",
        ablations=(Ablation((-40.0, 0.0, 10.0), 65.0, 425.0), Ablation((-50.0, -15.0, 5.0), None, 300.0)),
        clearances_mm={"aorta": 6.25, "ribs": 3.05, "colon": 22.0, "far": 60.0}, order=order,
    )  # fmt: skip
    return Insertion(**(values | changes))


def plan(*insertions: Insertion, **changes) -> Plan:
    values = dict(
        case_name="made", case_hash="ab" * 32, status=PlanStatus.PARTIAL,
        evidence=(Evidence("paths", "there is none"),), insertions=insertions,
        metrics=Metrics(0.99996, 0.912, -1.25, 7.4, 33.1, 5.0, 0.35), rejected={}, candidate_count=1,
        feasible_count=1, proof=None, provenance=Provenance("9.8.7", {}, 0, {}),
    )  # fmt: skip
    return Plan(**(values | changes))


def words(html: str) -> str:
    """What a reader sees."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def handle_data(self, data: str) -> None:
            self.seen.append(data)

    reader = Reader()
    reader.feed(html[html.index("<body>") :])
    return re.sub(r"\s+", " ", " ".join(reader.seen))


TARGET = np.array((-40.0, 0.0, 10.0))


def test_the_sheet_says_what_the_plan_says() -> None:
    made = plan(needle(2), needle(1, applicator="first"))
    seen = words(sheet_html(made, case(), TARGET))
    for expected in (
        "L −100.0 P −90.0 S −20.0", "L −40.0 P 0.0 S 10.0", "112 mm", "+33.7°", "+15.5°", "−18.4°",
        "65 W 7 min 5 s; power by the generator 5 min with the tip 19 mm back",
        "ribs 3.0 mm, aorta 6.2 mm, colon 22.0 mm", "60 mm to the right, 90 mm to the front, 30 mm to the feet",
        "not a medical device", "2 needles in this order", "99.9 % of the target", "ab" * 32, plan_hash(made),
        "planned by", "checked by", "patient supine, A up", "+ where the tip lies to the left",
    ):  # fmt: skip
        assert expected in seen, (expected, seen)
    assert "far" not in seen.split("nearest")[1].split("entry from")[0]
    assert seen.index("first") < seen.index("probe"), "needles stand in the order of punctures"


def test_a_tilt_beyond_the_usual_is_marked_and_an_empty_plan_says_why() -> None:
    steep = needle(1, entry_mm=(-100.0, -20.0, -40.0))
    assert ">30°" in words(sheet_html(plan(steep), case(), TARGET))
    assert ">30°" not in words(sheet_html(plan(needle(1)), case(), TARGET))
    assert "holds no needle. paths: there is none" in words(sheet_html(plan(), case(), TARGET))


@pytest.mark.parametrize(("position", "side"), [("prone", "left"), ("left", "front"), ("right", "front")])
def test_other_positions_say_their_own_side(position, side) -> None:
    lying = case(PatientPosition(position))
    assert f"+ where the tip lies to the {side}" in words(sheet_html(plan(needle()), lying, TARGET))
    names = re.findall(r">(left|right|front|back)<", axial_drawing(lying))
    # The positive side is drawn where it is seen from the feet with up above.
    assert names == {"prone": ["left", "right"], "left": ["back", "front"], "right": ["front", "back"]}[position]


def test_nothing_is_fetched_no_script_runs_and_hostile_words_are_words() -> None:
    hostile = "</title><script>alert(1)</script><img src=http://x/y onerror=a>"
    made = plan(
        needle(1, applicator=hostile, clearances_mm={hostile: 1.0}),
        case_name=hostile, provenance=Provenance(hostile, {}, 0, {}),
    )  # fmt: skip
    html = sheet_html(made, case(name=hostile), TARGET, (Html("<figure></figure>"),))
    assert "<script" not in html and "onerror=a>" not in html and "<img src=http" not in html
    assert "default-src 'none'" in html and "@page" in html
    tags = re.findall(r"<[^>]*>", html)
    assert not any(re.search(r"https?:|url\(|javascript:", tag) for tag in tags)


def test_the_slice_through_a_point_shows_body_target_and_needle() -> None:
    anatomy = build_anatomy(case())
    pixels = draw_axial_slice(anatomy, TARGET, "Target", (needle(),))
    other = draw_axial_slice(anatomy, TARGET + np.array((0, 0, 60)), "Above", (needle(),))
    assert pixels.shape == (384, 480, 3) and (pixels != other).any()
    assert pixels.std() > 10


VERDICT = PhysicsVerdict("microwave bioheat (sequential, 2 mm, liver)", "damage",
                         Metrics(0.991, 0.823, -1.69, 7.4, 33.1, 5.0, 1.16), False, 2)  # fmt: skip
AGAINST = (
    Evidence("coverage", "All lies in zones."),
    Evidence("physics", "By the solver 99.1 % are destroyed.", "Ask for more."),
    Evidence("search", "A corridor cannot have been missed.", "Look at more paths."),
    Evidence("structures within the zone", "The predicted zone reaches into portal_vein (10 mm).", "Judge it."),
    Evidence("needles among each other", "Two come near.", "Place them one after the other."),
)
CHANCES = (
    Likelihood("the target is covered", 0.998, 0.9, 1.0),
    Likelihood("a needle hits ribs", 0.0131, 0.0, 0.1),
    Likelihood("a needle hits colon", 0.2, 0.1, 0.3),
)


def test_the_sheet_says_what_speaks_against_the_plan() -> None:
    seen = words(sheet_html(plan(needle(), evidence=AGAINST, physics=VERDICT, likelihoods=CHANCES), case(), TARGET))
    for expected in (
        "by physics NOT covered: 99.1 % of the target and 82.3 % of target and 5 mm margin, least margin −1.7 mm",
        "structures within the zone: The predicted zone reaches into portal vein (10 mm)",
        "needles among each other: Two come near.",
        "chances: the target is covered 99.8 %; a needle hits colon 20.0 %; a needle hits ribs 1.4 %",
    ):
        assert expected in seen, (expected, seen)
    assert "corridor" not in seen and "All lies in zones" not in seen and "By the solver" not in seen
    without = words(sheet_html(plan(needle(), evidence=AGAINST), case(), TARGET))
    assert "physics: By the solver 99.1 % are destroyed." in without, (
        "without its figures the finding itself stands"
    )
    content = {"evidence": AGAINST[:1], "physics": dataclasses.replace(VERDICT, covered=True)}
    assert "by physics covered: 99.1 %" in words(sheet_html(plan(needle(), **content), case(), TARGET))
    assert 'class="against"' not in sheet_html(plan(needle(), evidence=AGAINST[:1]), case(), TARGET)


def test_findings_that_have_no_room_are_named() -> None:
    many = tuple(Evidence(f"subject {k}", f"finding {k} " + "word " * 120, "Do something.") for k in range(6))
    seen = words(sheet_html(plan(needle(), evidence=many), case(), TARGET))
    for k in range(6):
        assert f"subject {k}" in seen
    assert "finding 0" in seen and " …" in seen and "finding 5" not in seen
    assert "findings in the report, not here:" in seen


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium, which prints pages, is not there")
@pytest.mark.parametrize("paper", ["A4", "letter"])
def test_six_needles_print_on_one_page(tmp_path, paper) -> None:
    grey = Html('<figure><svg viewBox="0 0 480 384" style="width:100%"></svg></figure>')
    many = plan(
        *(dataclasses.replace(needle(k), clearances_mm={"portal_vein_and_splenic_vein": 2.0}) for k in range(1, 7)),
        physics=VERDICT,
        evidence=tuple(
            Evidence(f"a subject {k}", "a finding of many words " * 30, "Do something.") for k in range(9)
        ),
        likelihoods=tuple(
            Likelihood(f"a needle hits portal_vein_and_splenic_vein_{k}", 0.1, 0, 1) for k in range(9)
        ),
    )
    text = sheet_html(many, case(), TARGET, (grey,) * 7)
    assert printed_pages(tmp_path, text, paper) == 1
    assert printed_pages(tmp_path, text.replace("<main", '<div style="height:200mm"></div><main'), paper) > 1


def printed_pages(folder: Path, text: str, paper: str) -> int:
    """Number of pages of the sheet as a browser prints it."""
    page, printed = folder / "sheet.html", folder / "sheet.pdf"
    page.write_text(text.replace("</style>", f"@page {{ size: {paper}; }}</style>", 1), encoding="utf-8")
    subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
            f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={printed}", page.as_uri(),
        ],
        check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    return len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))
