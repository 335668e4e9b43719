"""A plan's folder tells whose case it is before anything is written that says so."""

import hashlib

from needleplan.app import outputs
from needleplan.app.folder import PlanFolder
from needleplan.app.report_audit import plan_inputs


def test_the_report_of_a_new_plan_tells_the_files_of_its_own_case(planned_folder, planned, tmp_path, monkeypatch):
    manifest = planned_folder.root.parent / "case" / "case.toml"
    other = tmp_path / "other" / "case.toml"
    other.parent.mkdir()
    other.write_text(manifest.read_text(encoding="utf-8") + "\n# another patient's\n", encoding="utf-8")
    folder, told = PlanFolder(tmp_path / "plan"), []

    def note(place, *_):
        told.append({each.what: each.digest for each in plan_inputs(place)}["the manifest of the case"])

    monkeypatch.setattr(outputs, "write_report_again", note)
    for path in (other, manifest):
        outputs.write_plan_folder(folder, planned, path, None)
    assert told == [hashlib.sha256(path.read_bytes()).hexdigest() for path in (other, manifest)]
