"""The page's addresses, asked by friends and by strangers."""

import dataclasses
import io
import json
import shutil
import threading
import time
import zipfile

import numpy as np
import pytest
from viewed_plan import NAME, other_folder

from needleplan.app.export_command import MAIN_FILE
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import load_planned
from needleplan.app.view.comparing import compare_plans, read_other_plan
from needleplan.app.view.desk import PlanningDesk
from needleplan.app.view.guard import MOST_BODY_BYTES, Guard
from needleplan.app.view.keeping import require_name
from needleplan.app.view.newest_worker import NewestWorker
from needleplan.app.view.page_program import page_files, page_program
from needleplan.errors import OptionError, PlanFileError
from needleplan.plan import PlanStatus

PORT, TOKEN = 8766, "secret"
HOST = f"127.0.0.1:{PORT}"


class Client:
    """Asks the guarded program in this process."""

    def __init__(self, desk):
        from starlette.testclient import TestClient

        program = Guard(page_program(desk), PORT, TOKEN)
        self.inner = TestClient(program, base_url=f"http://{HOST}", raise_server_exceptions=False)

    def get(self, address, **more):
        return self.inner.get(f"/{TOKEN}/{address}", **more)

    def post(self, address, **content):
        return self.inner.post(f"/{TOKEN}/{address}", json=content)

    def state(self):
        return self.get("state").json()

    def move(self, by_mm=(3.0, -2.0, 1.0), end="tip", done=True, gesture=""):
        state = self.state()
        point = np.add(state["needles"][0][f"{end}_mm"], by_mm).tolist()
        return self.post(
            "move", version=state["version"], order=1, end=end, point_mm=point, gesture=gesture, done=done
        )

    def judged(self):
        for _ in range(600):
            judged = self.state()["judged"]
            if judged["fresh"]:
                return judged
            time.sleep(0.05)
        raise AssertionError("the figures never came")


@pytest.fixture
def client(desk):
    return Client(desk)


def test_the_page_its_files_and_its_scene(client, scene):
    page = client.get("")
    assert page.status_code == 200 and "NOT a medical device" in page.text
    for name in page_files():
        answer = client.get(f"files/{name}")
        assert answer.status_code == 200
        for header in ("content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options"):
            assert answer.headers[header]
    assert {"viewer/viewer.js", "page.js", "page.css"} <= set(page_files())
    assert client.get("scene").json()["title"] == NAME == scene["title"]
    assert not any(body["id"].startswith("g:") or "moment" in body for body in scene["bodies"])


@pytest.mark.long
def test_a_move_brings_every_column_and_then_the_figures(client, planned):
    before = client.state()
    columns = [c["name"] for c in before["needles"][0]["constraints"]]
    assert columns == list(planned.plan.rejected) and before["needles"][0]["feasible"]
    after = client.move().json()
    assert after["version"] == before["version"] + 1 and after["needles"][0]["moved"]
    values = [[c["value"] for c in s["needles"][0]["constraints"]] for s in (before, after)]
    assert values[0] != values[1] and not after["judged"]["fresh"]
    assert after["zones"][0]["id"] == "z:1" and after["zones"] != before["zones"]
    judged = client.judged()
    assert judged["metrics"]["zone_ml"] > 0 and judged["status"] in list(PlanStatus)
    painted = client.get("margin").json()
    assert painted["target"]["colours"] and painted["margin"]["asked_mm"] == 6.0


@pytest.mark.long
def test_while_the_hand_moves_no_figures_are_computed(client):
    client.judged()
    for k in range(5):
        state = client.move((0.5, 0.0, 0.0), done=k == 4, gesture="a drag").json()
        assert state["can_undo"]
    assert client.judged()["version"] == state["version"]
    undone = client.post("undo", version=state["version"]).json()
    assert not undone["needles"][0]["moved"] and undone["can_redo"], "a drag is one step"


@pytest.fixture
def resting(planned_folder, planned, scene, demands, monkeypatch):
    """Makes a client of a desk that waits so many seconds for a hand that rests."""
    from needleplan.app.view import desk as module

    made = []

    def client_of(rest_s):
        monkeypatch.setattr(module, "HELD_S", rest_s)
        made.append(PlanningDesk(planned_folder, planned, scene, planned_folder.root / "e", demands=demands))
        return Client(made[-1])

    yield client_of
    for desk in made:
        desk.close()


def test_a_drag_that_ends_where_it_may_not_is_judged_where_it_was_last(resting):
    client = resting(3600.0)
    client.judged()
    held = client.move((1.0, 0.0, 0.0), done=False, gesture="a drag").json()
    refused = client.move((2000.0, 0.0, 0.0), done=True, gesture="a drag")
    assert refused.status_code == 400 and not client.state()["judged"]["version"] == held["version"]
    assert client.judged()["version"] == held["version"]


def test_a_drag_that_nobody_ends_is_judged_once_the_hand_rests(resting):
    client = resting(0.05)
    client.judged()
    for _ in range(3):
        held = client.move((1.0, 0.0, 0.0), done=False, gesture="of a tab that is closed").json()
    assert client.judged()["version"] == held["version"]


def test_a_move_to_where_the_end_is_keeps_version_and_steps(client):
    client.judged()
    before = client.state()
    same = client.move((0.0, 0.0, 0.0)).json()
    assert same["version"] == before["version"] and not same["can_undo"] and same["judged"]["fresh"]
    held = client.move((1.0, 0.0, 0.0), done=False, gesture="a drag").json()
    let_go = client.move((0.0, 0.0, 0.0), done=True, gesture="a drag").json()
    assert let_go["version"] == held["version"] == before["version"] + 1
    assert client.judged()["version"] == held["version"], "the figures come when the hand lets go"


def test_a_stale_edit_is_refused_and_changes_nothing(client):
    old = client.state()["version"]
    client.move()
    for address, more in (
        ("undo", {}),
        ("reset", {"order": None}),
        ("lock", {"order": 1, "entry": True, "tip": None}),
    ):
        answer = client.post(address, version=old, **more)
        assert answer.status_code == 409 and "changed meanwhile" in answer.json()["error"]
    assert client.state()["version"] == old + 1


def test_locks_undo_redo_reset_and_snap(client, desk):
    version = client.state()["version"]
    assert "being looked for" in client.post("snap", version=version, order=1).json()["error"]
    locked = client.post("lock", version=version, order=1, entry=None, tip=True).json()
    assert locked["needles"][0]["locked"] == {"entry": False, "tip": True}
    refused = client.move()
    assert refused.status_code == 400 and "locked" in refused.json()["error"]
    client.post("undo", version=locked["version"])
    desk.start_search()
    while not client.state()["snap"]["ready"]:
        time.sleep(0.05)
    client.move((0.0, 45.0, 45.0))
    state = client.state()
    snapped = client.post("snap", version=state["version"], order=1).json()
    assert snapped["needles"][0]["feasible"]
    reset = client.post("reset", version=snapped["version"], order=1).json()
    assert not reset["needles"][0]["moved"]
    assert client.post("redo", version=reset["version"]).json()["error"] == "there is no step to do again"
    assert "one by one" in client.post("snap", version=reset["version"], order=None).json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1:80"}, 421),
        ({"host": ""}, 421),
        ({"host": f"localhost:{PORT}"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"http://{HOST}"}, 200),
    ],
)
def test_who_asks_and_for_whom(client, headers, status):
    answer = client.get("state", headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["error"].endswith(".") and NAME not in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/state", "/wrong/state", "/Secret/state", f"/{TOKEN}x/state", f"//{TOKEN}/x"]
)
def test_without_the_secret_there_is_nothing(client, path):
    answer = client.inner.get(path)
    assert answer.status_code == 404 and answer.json()["error"]
    assert client.inner.post(path, json={"version": 0}).status_code in (404, 405)


@pytest.mark.parametrize(
    "path",
    ["files/../desk.py", "files/%2e%2e/desk.py", "files/..%2f..%2fdesk.py",
     "files//etc/passwd", "files/%00", "files/viewer/..\\x",
     "files/viewer/%2e%2e/%2e%2e/document.py", "openapi.json", "docs"],
)  # fmt: skip
def test_no_path_leaves_the_page(client, path):
    answer = client.get(path)
    assert answer.status_code == 404 and "import" not in answer.text


def test_hostile_bodies_are_refused_each_with_a_sentence(client):
    version = client.state()["version"]
    good = {"version": version, "order": 1, "end": "tip", "point_mm": [0.0, 0.0, 0.0], "gesture": "", "done": True}

    def send(body, kind="application/json"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.inner.post(f"/{TOKEN}/move", content=content, headers={"content-type": kind})

    bad = [
        {**good, "point_mm": [float("nan"), 0, 0]},
        {**good, "point_mm": [float("inf"), 0, 0]},
        {**good, "point_mm": [1e300, 0, 0]},
        {**good, "point_mm": [1, 2]},
        {**good, "point_mm": ["1", 2, 3]},
        {**good, "order": 99},
        {**good, "order": True},
        {**good, "end": "middle"},
        {**good, "gesture": "x" * 1000},
        {**good, "more": 1},
        {"version": version},
        [],
        b"\xff\xfe",
        b"{" * 5000,
        b'{"version": 0, "version": 1}',
    ]
    for body in bad:
        answer = send(body)
        assert answer.status_code == 400 and answer.json()["error"], body
    assert send(good, "text/plain").status_code == 415
    assert send(b" " * (MOST_BODY_BYTES + 1)).status_code == 413
    assert client.inner.request("DELETE", f"/{TOKEN}/state").status_code == 405
    assert client.get("move").status_code == 405
    assert client.state()["version"] == version, "nothing of that changed the plan"


def test_a_body_in_parts_is_bounded_too(client):
    def parts():
        for _ in range(100):
            yield b" " * 1000

    answer = client.inner.post(f"/{TOKEN}/move", content=parts(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_a_saved_plan_is_read_by_other_commands_and_the_opened_one_stays(client, planned_folder, planned):
    before = planned_folder.plan.read_bytes()
    version = client.state()["version"]
    answer = client.post("save", version=version, name="same")
    assert answer.status_code == 400 and "nothing was moved" in answer.json()["error"]
    state = client.move().json()
    saved = client.post("save", version=state["version"], name="moved-2")
    assert saved.status_code == 200, saved.text
    place = PlanFolder(planned_folder.root / "edited" / "moved-2")
    assert str(place.root) in saved.json()["said"]
    read = load_planned(place, None)
    assert read.plan.insertions[0].tip_mm == tuple(state["needles"][0]["tip_mm"])
    assert read.plan.case_hash == planned.plan.case_hash and any("by hand" in n for n in read.plan.provenance.notes)
    assert read.assessment.metrics == read.plan.metrics and read.plan.proof is None
    assert planned_folder.plan.read_bytes() == before
    again = client.post("save", version=state["version"], name="moved-2")
    assert again.status_code == 400 and "already" in again.json()["error"]
    assert sorted(each.name for each in place.root.parent.iterdir()) == ["moved-2"], "nothing half-written is left"


@pytest.mark.long
def test_edits_leave_the_page_after_the_folder_that_was_opened_is_gone(
    tmp_path, planned_folder, planned, scene, demands
):
    shutil.copytree(planned_folder.root, tmp_path / "opened")
    shutil.copytree(planned_folder.root.parent / "case", tmp_path / "case")
    desk = PlanningDesk(PlanFolder(tmp_path / "opened"), planned, scene, tmp_path / "saves", demands=demands)
    try:
        client = Client(desk)
        version = client.move().json()["version"]
        client.judged()
        shutil.rmtree(tmp_path / "opened")
        archive = client.post("export", version=version)
        assert archive.status_code == 200 and archive.content[:2] == b"PK"
        saved = client.post("save", version=version, name="kept")
        assert saved.status_code == 200, saved.text
    finally:
        desk.close()
    kept = PlanFolder(tmp_path / "saves" / "kept")
    assert kept.load()[0].insertions[0] != planned.plan.insertions[0]


def test_a_drag_onto_the_entry_or_out_of_the_patient_leaves_the_page_alive(client, planned):
    client.judged()
    held = client.move((1.0, 0.5, 0.0), done=False, gesture="drag").json()
    for point in (held["needles"][0]["entry_mm"], [2000.0, 0.0, 0.0], [0.0, 9999.0, -9999.0]):
        state = client.state()
        answer = client.post(
            "move", version=state["version"], order=1, end="tip", point_mm=point, gesture="drag", done=True
        )
        assert answer.status_code == 400 and "\n" not in answer.json()["error"], answer.text
        assert client.state()["needles"][0]["tip_mm"] == held["needles"][0]["tip_mm"]
    far = client.post("move", version=0, order=1, end="tip", point_mm=[1e5, 0, 0], gesture="", done=True)
    assert far.status_code == 400 and "within 10000 mm of the origin" in far.json()["error"]
    undone = client.post("undo", version=client.state()["version"]).json()
    assert undone["needles"][0]["tip_mm"] == pytest.approx(list(planned.plan.insertions[0].tip_mm))


def test_what_breaks_a_demand_is_saved_as_such(client, planned_folder, planned):
    vessel = planned.anatomy.obstacles[0].mesh.vertices_mm.mean(axis=0)
    state = client.state()
    state = client.post("move", version=state["version"], order=1, end="tip", point_mm=vessel.tolist(), gesture="",
                        done=True).json()  # fmt: skip
    assert not state["needles"][0]["feasible"] and state["needles"][0]["cost"] is None
    said = client.post("save", version=state["version"], name="broken").json()["said"]
    assert "infeasible" in said and "breaks hard demands" in said
    plan = PlanFolder(planned_folder.root / "edited" / "broken").read_plan()
    assert plan.status is PlanStatus.INFEASIBLE and any(e.subject == "edited by hand" for e in plan.evidence)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "-x", ".x", "x" * 61, "nul", "COM1", "ä", "a b", "a\n"]
)
def test_names_that_could_leave_the_folder_are_refused(name):
    with pytest.raises(OptionError, match="no name for a plan"):
        require_name(name)


@pytest.mark.long
def test_the_export_holds_what_slicer_reads(client):
    state = client.move().json()
    answer = client.post("export", version=state["version"])
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        markups = json.loads(archive.read("for-slicer/plan.mrk.json"))
    assert f"for-slicer/{MAIN_FILE}" in names and any(name.endswith(".seg.nrrd") for name in names)
    tip = markups["markups"][0]["controlPoints"][1]["position"]
    np.testing.assert_allclose(tip, state["needles"][0]["tip_mm"], atol=1e-3)


def test_two_plans_side_by_side(client, planned):
    same = client.get("comparison").json()
    assert "not edited" in same["second"] and all(row["difference"] in (0.0, None) for row in same["metrics"])
    state = client.move((5.0, 0.0, 0.0)).json()
    client.judged()
    found = client.get("comparison").json()
    assert found["version"] == state["version"] and found["needles"][0]["entry_apart_mm"] < 1e-4
    assert found["needles"][0]["tip_apart_mm"] == pytest.approx(5.0)
    assert {row["name"] for row in found["clearances"]} == {s.name for s in planned.anatomy.obstacles}
    other = client.get("other").json()
    assert other["needles"][0]["tip_mm"] == list(planned.plan.insertions[0].tip_mm)
    assert other["bodies"][0]["id"] == "z:other:1"
    assert "--compare" in client.get("comparison?with=other").json()["error"]


def test_clearances_that_are_measured_no_farther_have_no_difference(planned):
    def near(**clearances_mm):
        (first, *more) = planned.plan.insertions
        more = [dataclasses.replace(one, clearances_mm=clearances_mm) for one in more]
        first = dataclasses.replace(first, clearances_mm=clearances_mm)
        return dataclasses.replace(planned.plan, insertions=(first, *more))

    found = compare_plans(near(far=60.0, gone=60.0, near=7.5), near(far=60.0, gone=22.0, near=60.0)).clearances
    assert [(row.name, row.capped, row.difference) for row in found] == [
        ("far", (True, True), None),
        ("gone", (True, False), -38.0),
        ("near", (False, True), 52.5),
    ]
    assert not any(any(row.capped) for row in compare_plans(planned.plan, planned.plan).metrics)


def test_a_second_folder_to_compare_with(planned_folder, planned, scene, demands):
    other = read_other_plan(other_folder(planned_folder, "second"), planned)
    assert all(value.difference in (0.0, None) for value in compare_plans(planned.plan, other).metrics)
    desk = PlanningDesk(
        planned_folder, planned, scene, planned_folder.root / "e", None, ("second", other), None, demands
    )
    try:
        assert desk.comparison(True)["first"] == "second" and desk.state()["other"] == "second"
    finally:
        desk.close()
    with pytest.raises(PlanFileError, match=r"no plan\.json"):
        read_other_plan(PlanFolder(planned_folder.root / "nowhere"), planned)


def test_news_wakes_who_waits(desk):
    client = Client(desk)
    client.judged()
    serial = client.state()["serial"]
    heard = []
    waiting = threading.Thread(target=lambda: heard.append(desk.state(serial, 20.0)))
    waiting.start()
    client.move()
    waiting.join(20.0)
    assert heard and heard[0]["serial"] > serial


def test_the_newest_task_wins():
    started, go, done = threading.Event(), threading.Event(), []

    def work(task):
        started.set()
        go.wait(10.0)
        done.append(task)

    worker = NewestWorker(work, "test")
    worker.submit(0)
    assert started.wait(10.0)
    for task in range(1, 50):
        worker.submit(task)
    go.set()
    while not worker.idle:
        time.sleep(0.01)
    worker.close(5.0)
    assert done == [0, 49]


def test_a_judge_that_fails_says_so_and_goes_on(client, desk, monkeypatch):
    from needleplan.app.view import desk as module

    client.judged()
    real = module.judge

    def broken(*_):
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(module, "judge", broken)
    client.move()
    judged = client.judged()
    assert "by chance" in judged["failure"] and judged["metrics"] is None
    monkeypatch.setattr(module, "judge", real)
    client.move()
    assert client.judged()["failure"] == ""
