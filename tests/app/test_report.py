"""The report: complete, self-contained, and safe against whatever a case is called."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import trimesh
from made_outcomes import needle, outcome, trace, withdrawn
from scipy.spatial.transform import Rotation

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.app.report import NOTICE, write_report
from needleplan.app.report_rehearsals import MOST_ENTRIES, Rehearsal
from needleplan.app.report_sections import needle_angles
from needleplan.app.report_template import Html, element, table, with_names
from needleplan.assess import Assessment
from needleplan.case.model import Case, Finding, PatientPosition, Role, Severity, Structure
from needleplan.outcome import EventKind, RehearsalEvent
from needleplan.plan import (
    Ablation,
    CoverageProof,
    Evidence,
    Insertion,
    LevelOutcome,
    Likelihood,
    Metrics,
    PhysicsVerdict,
    Plan,
    PlanStatus,
    Provenance,
)
from needleplan.viz.canvas import Picture

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&"


def anatomy(name="case", position=PatientPosition.SUPINE, structure="portal_vein", findings=()) -> Anatomy:
    box = trimesh.creation.box((10.0, 20.0, 30.0))
    mesh = SurfaceMesh(box.vertices, box.faces)
    parts = (("skin", Role.SKIN), (structure, Role.VESSEL), ("tumour", Role.TARGET))
    case = Case(
        name, tuple(Structure(n, r, mesh) for n, r in parts), position, "ab" * 32, findings=findings, up=position.up
    )
    surfaces = tuple(StructureSurface(n, r, mesh, None, np.zeros(len(mesh.faces), bool), 0.5) for n, r in parts)
    return Anatomy(case, surfaces, surfaces[0], np.ones(len(mesh.faces), bool))


def insertion(direction, **changes) -> Insertion:
    tip = tuple(80.0 * np.asarray(direction, float) / np.linalg.norm(direction))
    values = dict(
        entry_mm=(0.0, 0.0, 0.0), tip_mm=tip, applicator="probe", ablations=(Ablation(tip, 65.0, 425.0),),
        clearances_mm={"portal_vein": 6.25}, order=1,
    )  # fmt: skip
    return Insertion(**(values | changes))


def plan(**changes) -> Plan:
    values = dict(
        case_name="patient 7", case_hash="ab" * 32, status=PlanStatus.PARTIAL,
        evidence=(Evidence("margin", "91.2 % of the margin is covered", "Allow a third needle."),),
        insertions=(insertion((0.0, 1.0, 0.0)),),
        metrics=Metrics(0.99996, 0.912, -1.25, 7.4, 33.1, 5.0, 0.35),
        rejected={"crosses bone": 4321, "too long": 0}, candidate_count=9000, feasible_count=123,
        proof=CoverageProof("HiGHS", "Optimal", 1, 1.0, 1.0, 0.0, 77, 5533, "No fewer of the 77 offered will do."),
        provenance=Provenance("9.8.7", {"margin_mm": 5.0}, 42, {"screen": 1.5, "rank": 0.25}, ("A model table.",)),
    )  # fmt: skip
    return Plan(**(values | changes))


def verdict(**changes) -> PhysicsVerdict:
    values = dict(
        model="bioheat", criterion="Omega >= 1", metrics=Metrics(0.93, 0.81, -2.5, 9.0, 29.0, 5.0, 0.4),
        covered=False, rounds=2, notes=("A vein lies beside.",),
    )  # fmt: skip
    return PhysicsVerdict(**(values | changes))


def rehearsal(the_plan, strategy, error) -> Rehearsal:
    needles = [
        needle(error, error, 0.0, of=i, waited_s=3.5, closest_mm={"portal_vein": 3.25}, punctured=("liver",))
        for i in the_plan.insertions
    ]
    done = outcome(needles, strategy, trace(np.arange(5.0)))
    return Rehearsal(done, Assessment(dataclasses.replace(the_plan.metrics, minimal_margin_mm=-error), np.zeros(8)))


def picture(name="patient") -> Picture:
    return Picture(name, f"Title of {name}", "What is seen.", np.full((20, 30, 3), 77, np.uint8))


class Page(HTMLParser):
    """Checks that the elements nest, and gathers tags, attributes and text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        links = [value for name, value in attributes if name in ("src", "href")]
        self.links += [link for link in links if not link.startswith("#")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_report_says_what_the_plan_says(tmp_path):
    the_plan = plan()
    rehearsals = [rehearsal(the_plan, "amplitude-gating", 0.75), rehearsal(the_plan, "free-breathing", 4.5)]
    route = {
        "robot": "arm", "notes": ["Base found."],
        "insertions": [{"order": 1, "status": "reached", "reason": "", "position_error_m": 4.2e-5}],
    }  # fmt: skip
    path = write_report(
        tmp_path / "new" / "report.html", anatomy=anatomy(), plan=the_plan, rehearsals=rehearsals, route=route,
        pictures=[picture("patient"), picture("breathing-gated"), picture("extra")], notes=["No film was made."],
    )  # fmt: skip
    page = read(path)
    for fact in (
        "patient 7", "partial", "91.2 % of the margin is covered", "Allow a third needle.", "91.2 %", "-1.2 mm",
        "65 W, 7:05 min", "80.0 mm", "6.2 mm", "4,321", "9,000", "123", "No fewer of the 77 offered will do.",
        "HiGHS: Optimal", "9.8.7", "42", "ab" * 32, "A model table.", "No film was made.", "1.75 s", "Base found.",
        "0.042 mm", "amplitude gating", "free breathing", "4.50", "0.75",
        "amplitude gating: needle 2 was not placed: out of reach",
        "Title of breathing-gated", "Title of extra", NOTICE,
    ):  # fmt: skip
        assert fact in page.text, fact
    assert "too long" not in page.text
    assert page.tags.count("img") == 3


def test_report_says_what_happened_in_a_rehearsal(tmp_path):
    the_plan = plan()
    done = rehearsal(the_plan, "amplitude-gating", 0.75)
    path = write_report(tmp_path / "r.html", anatomy=anatomy(), plan=the_plan, rehearsals=[done])
    text = read(path).text
    for fact in (
        "amplitude-gating(2 mm)", "cough of 20 mm at needle 1, at 40 % of the depth", "7.2", "portal vein",
        "3.2 mm", "Log: amplitude gating", "11.75", "the target moves at 60 mm/s",
        "liver capsule gives way at 3.8 N", f"needles placed{len(done.outcome.needles)} of",
    ):  # fmt: skip
        assert fact in text, fact
    lost = withdrawn(2, peak_force_n=8.75, closest_mm={"portal_vein": -0.75}, punctured=("portal_vein",))
    both = dataclasses.replace(done, outcome=dataclasses.replace(done.outcome, withdrawn=(lost,)))
    told = read(write_report(path, anatomy=anatomy(), plan=the_plan, rehearsals=[both])).text
    placed = len(done.outcome.needles)
    for fact in ("needles given up in the patient1", "8.8", f"-0.8 mm, punctured by 1 of {placed + 1}"):
        assert fact in told and fact not in text, fact
    # The controller's states would bury what matters.
    assert "9.50" not in text
    many = tuple(RehearsalEvent(float(k), 1, EventKind.STOP, f"stop {k}") for k in range(MOST_ENTRIES + 20))
    long = dataclasses.replace(done, outcome=dataclasses.replace(done.outcome, events=many))
    text = read(write_report(path, anatomy=anatomy(), plan=the_plan, rehearsals=[long])).text
    assert (
        f"stop {MOST_ENTRIES - 1}" in text and f"stop {MOST_ENTRIES}" not in text and "20 further entries" in text
    )
    hostile = (RehearsalEvent(0.0, 1, EventKind.STOP, HOSTILE),)
    bad = dataclasses.replace(done, outcome=dataclasses.replace(done.outcome, events=hostile, faults=(HOSTILE,)))
    page = read(write_report(path, anatomy=anatomy(), plan=the_plan, rehearsals=[bad]))
    assert "script" not in page.tags and HOSTILE in page.text


def test_nothing_is_fetched_and_no_script_runs(tmp_path):
    the_plan = plan()
    path = write_report(
        tmp_path / "r.html", anatomy=anatomy(), plan=the_plan, pictures=[picture()],
        rehearsals=[rehearsal(the_plan, "amplitude-gating", 1.0)], film=tmp_path / "film.mp4",
    )  # fmt: skip
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(page.tags)
    assert all(
        link.startswith(("data:image/png;base64,", "data:image/webp;base64,")) or link == "film.mp4"
        for link in page.links
    )
    assert "default-src 'none'" in text


def test_goals_physics_and_chances_are_shown_beside_each_other(tmp_path):
    levels = (LevelOutcome("ablations", 3.0, 2.0, "", False, "on the chosen paths"),)
    the_plan = plan(
        proof=dataclasses.replace(plan().proof, levels=levels, offered_bound=None, certificate="proven by 5 cubes"),
        physics=verdict(),
        likelihoods=(Likelihood("the target is covered", 0.75, 0.7, 0.8),),
    )
    text = read(write_report(tmp_path / "r.html", anatomy=anatomy(), plan=the_plan)).text
    for words in (
        "on the chosen paths",
        "proven by 5 cubes",
        "bioheat",
        "A vein lies beside.",
        "-2.5 mm",
        "75.0 %",
    ):
        assert words in text, words
    without = read(write_report(tmp_path / "s.html", anatomy=anatomy(), plan=plan())).text
    assert "bioheat" not in without and "Chances" not in without


@pytest.mark.parametrize(
    "field",
    [
        "case_name",
        "subject",
        "finding",
        "remedy",
        "note",
        "option",
        "rejected",
        "applicator",
        "physics",
        "event",
        "certificate",
    ],
)
def test_hostile_words_are_shown_and_not_run(tmp_path, field):
    changes = {
        "case_name": dict(case_name=HOSTILE),
        "subject": dict(evidence=(Evidence(HOSTILE, "f", "r"),)),
        "finding": dict(evidence=(Evidence("s", HOSTILE, "r"),)),
        "remedy": dict(evidence=(Evidence("s", "f", HOSTILE),)),
        "note": dict(provenance=Provenance("1", {}, 1, {}, (HOSTILE,))),
        "option": dict(provenance=Provenance("1", {HOSTILE: HOSTILE}, 1, {HOSTILE: 1.0})),
        "rejected": dict(rejected={HOSTILE: 3}),
        "applicator": dict(insertions=(insertion((0, 1, 0), applicator=HOSTILE),)),
        "physics": dict(physics=verdict(model=HOSTILE)),
        "event": dict(likelihoods=(Likelihood(HOSTILE, 0.5, 0.4, 0.6),)),
        "certificate": dict(proof=dataclasses.replace(plan().proof, certificate=HOSTILE)),
    }[field]
    page = read(write_report(tmp_path / "r.html", anatomy=anatomy(), plan=plan(**changes)))
    assert "script" not in page.tags and "img" not in page.tags
    assert HOSTILE in page.text


def test_hostile_structure_finding_route_picture_and_film(tmp_path):
    finding = Finding(Severity.WARNING, "x", HOSTILE, HOSTILE, HOSTILE)
    the_plan = plan(insertions=(insertion((0, 1, 0), clearances_mm={HOSTILE: 2.0}),))
    route = {"robot": HOSTILE, "notes": [HOSTILE], "insertions": [{"order": HOSTILE, "reason": HOSTILE}]}
    page = read(
        write_report(
            tmp_path / "r.html",
            anatomy=anatomy(structure=HOSTILE, findings=(finding,)),
            plan=the_plan,
            route=route,
            pictures=[Picture("patient", HOSTILE, HOSTILE, np.zeros((9, 9, 3), np.uint8))],
            film=tmp_path / 'a"><script>b.mp4',
        )
    )
    assert "script" not in page.tags and page.tags.count("img") == 1
    assert page.text.count(HOSTILE) >= 8


def test_pictures_are_embedded_as_they_are(tmp_path):
    from PIL import Image

    one = Picture("patient", "t", "c", np.random.default_rng(3).integers(0, 255, (12, 17, 3), dtype=np.uint8))
    page = read(write_report(tmp_path / "r.html", anatomy=anatomy(), plan=plan(), pictures=[one]))
    data = base64.b64decode(page.links[0].split(",", 1)[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), one.pixels)


def test_film_is_named_relative_to_the_report(tmp_path):
    film = tmp_path / "film s" / "rehearsal 1.mp4"
    page = read(write_report(tmp_path / "out" / "r.html", anatomy=anatomy(), plan=plan(), film=film))
    assert page.links == ["../film%20s/rehearsal%201.mp4"] * 2 and "video" in page.tags
    page = read(write_report(tmp_path / "r.html", anatomy=anatomy(), plan=plan(), film=tmp_path / "f.gif"))
    assert page.links == ["f.gif"] * 2 and "video" not in page.tags


def test_infeasible_plan_has_a_report(tmp_path):
    empty = plan(status=PlanStatus.INFEASIBLE, insertions=(), metrics=None, proof=None)
    page = read(write_report(tmp_path / "r.html", anatomy=anatomy(), plan=empty))
    assert "infeasible" in page.text and "No needle path satisfies" in page.text
    assert "Coverage proof" not in page.text and "Insertions" not in page.text


def test_clearances_at_the_end_of_what_is_measured_are_told_as_such(tmp_path):
    near = insertion((0, 1, 0), clearances_mm={"portal_vein": 60.0, "aorta": 59.5})
    far = insertion((0, 1, 0), clearances_mm={"portal_vein": 60.0})
    told = read(write_report(tmp_path / "r.html", anatomy=anatomy(), plan=plan(insertions=(near,)))).text
    assert "portal vein60.0 mm or more" in told and "aorta59.5 mm" in told and "59.5 mm or more" not in told
    told = read(write_report(tmp_path / "s.html", anatomy=anatomy(), plan=plan(insertions=(far,)))).text
    assert "60.0 mm or moreleast clearance, to portal vein" in told


def test_negative_clearance_is_marked(tmp_path):
    for value, marked in ((-0.5, True), (0.5, False)):
        the_plan = plan(insertions=(insertion((0, 1, 0), clearances_mm={"portal_vein": value}),))
        text = write_report(tmp_path / "r.html", anatomy=anatomy(), plan=the_plan).read_text(encoding="utf-8")
        assert (f'<span class="low">{value:.1f} mm</span>' in text) is marked


@pytest.mark.parametrize(
    ("direction", "craniocaudal", "in_plane"),
    [
        ((0, 1, 0), 0.0, 0.0),
        ((0, 1, 1), 45.0, 0.0),
        ((0, 1, -1), -45.0, 0.0),
        ((1, 1, 0), 0.0, 45.0),
        ((-1, 1, 0), 0.0, -45.0),
        ((1, 0, 0), 0.0, 90.0),
    ],
)
def test_angles_of_a_needle_in_a_supine_patient(direction, craniocaudal, in_plane):
    angles = needle_angles(insertion(direction), anatomy())
    assert angles.craniocaudal_deg == pytest.approx(craniocaudal, abs=1e-9)
    assert angles.in_plane_deg == pytest.approx(in_plane, abs=1e-9)


def test_angles_follow_the_position_and_the_moved_patient():
    prone = needle_angles(insertion((1, -1, 0)), anatomy(position=PatientPosition.PRONE))
    assert (prone.craniocaudal_deg, prone.in_plane_deg) == pytest.approx((0.0, 45.0))
    here = needle_angles(insertion((1, 2, 0.5)), anatomy())
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", (25, 40, -70), degrees=True).as_matrix()
    still = anatomy()
    turned = Anatomy(still.case.moved(motion), still.surfaces, still.entry, still.entry_faces)
    there = needle_angles(insertion(motion[:3, :3] @ (1, 2, 0.5)), turned)
    assert there.craniocaudal_deg == pytest.approx(here.craniocaudal_deg)
    assert there.in_plane_deg == pytest.approx(here.in_plane_deg)


def test_names_that_may_turn_a_sentence_round_stand_by_themselves():
    names = ("portal_vein", "dome_\u202e<b>", "dome_\u202e")
    said = with_names("portal vein & dome \u202e<b> 3 mm, dome_\u202e 4 mm", names)
    assert said == "portal vein &amp; <bdi>dome \u202e&lt;b&gt;</bdi> 3 mm, <bdi>dome \u202e</bdi> 4 mm"
    assert with_names("a < b", ("a", "")) == "a &lt; b"
    # A case keeps its name as it is.
    assert with_names("case_\u202e, vein_\u202e", ("vein_\u202e",), ("case_\u202e",)) == (
        "<bdi>case_\u202e</bdi>, <bdi>vein \u202e</bdi>"
    )


def test_sentences_name_structures_and_angles_as_tables_do():
    said = "clearance to portal_vein is 3 mm, table side is 95.9 deg by liver_Chang2004, not_portal_vein; degrade"
    assert with_names(said, ("portal_vein", "liver")) == (
        "clearance to portal vein is 3 mm, table side is 95.9° by liver_Chang2004, not_portal_vein; degrade"
    )


def test_no_sentence_of_the_page_has_a_structure_as_files_have_it(tmp_path):
    said = "It comes near to portal_vein at 12.5 deg."
    the_plan = plan(
        evidence=(Evidence("portal_vein", said, said),), physics=verdict(notes=(said,)),
        likelihoods=(Likelihood("a needle hits portal_vein", 0.5, 0.4, 0.6),),
        rejected={"clearance to portal_vein": 3},
        provenance=dataclasses.replace(plan().provenance, notes=(said,)),
    )  # fmt: skip
    route = {"robot": "arm", "notes": [said], "insertions": [
        {"order": 1, "status": "blocked", "reason": said, "axis_error_rad": 0.01}]}  # fmt: skip
    done = rehearsal(the_plan, "amplitude-gating", 0.75)
    events = (RehearsalEvent(0.0, 1, EventKind.STOP, said, "portal_vein"),)
    done = dataclasses.replace(
        done, outcome=dataclasses.replace(done.outcome, events=events, not_reached=((2, said),))
    )
    findings = (Finding(Severity.WARNING, "x", message=said, structure="portal_vein", remedy=said),)
    text = read(
        write_report(
            tmp_path / "r.html", anatomy=anatomy(findings=findings), plan=the_plan, route=route, rehearsals=[done],
            notes=[said],
        )
    ).text  # fmt: skip
    assert "portal_vein" not in text and "12.5 deg" not in text
    assert text.count("It comes near to portal vein at 12.5°.") == 11 and "0.573°" in text


def test_one_figure_is_told_in_one_way(tmp_path):
    the_plan = plan(
        metrics=Metrics(0.99996, 0.98368, -1.25, 7.4, 33.1, 5.0, 0.35),
        physics=verdict(metrics=Metrics(0.99996, 0.98368, -2.5, 9.0, 29.0, 5.0, 0.4)),
        likelihoods=(
            Likelihood("the margin reaches 5 mm", 0.192, 0.15838, 0.3278),
            Likelihood("a needle hits ribs", 0.0009, 0.0, 0.01438),
        ),
        rejected={"crosses bone": 1}, candidate_count=100_000, feasible_count=1,
    )  # fmt: skip
    page = write_report(tmp_path / "r.html", anatomy=anatomy(), plan=the_plan)
    text = read(page).text
    assert text.count("99.9 %") == 3 and text.count("98.3 %") == 3 and "98.4 %" not in text
    assert "15.8 % to 32.8 %" in text and "0.1 %0 % to 1.5 %" in text
    assert "crosses bone1under 0.1 %" in text and not re.search(r"\b(100\.0|0\.0) %", text)


def test_blocks_escape_once():
    assert element("b", "a<b", title='"') == '<b title="&quot;">a&lt;b</b>'
    assert element("p", element("b", "&")) == "<p><b>&amp;</b></p>"
    assert isinstance(table(("h",), [("<",)]), Html) and "&lt;" in table(("h",), [("<",)])
