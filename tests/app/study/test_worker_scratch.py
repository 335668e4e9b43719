"""Folders of workers that killed runs left are removed by the next run, and nothing else is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from needleplan.app.study.cluster import study_client
from needleplan.app.study.worker_scratch import worker_scratch

KILLED = """
import os
import signal
from needleplan.app.study.worker_scratch import worker_scratch
with worker_scratch() as folder:
    open(f"{folder}/file", "w").close()
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def aged(folder: Path) -> Path:
    """The folder, as if it had been made an hour ago."""
    hour_ago_s = time.time() - 3600.0
    os.utime(folder, (hour_ago_s, hour_ago_s))
    return folder


def left(folder: Path) -> Path:
    """A folder as a killed run left it an hour ago."""
    folder.mkdir(mode=0o700)
    (folder / ".needleplan-workers").touch()
    return aged(folder)


def test_what_a_killed_run_left_is_removed_by_the_next_one(place):
    environment = os.environ | {"TMPDIR": str(place)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    folder = Path(done.stdout.strip())
    assert (folder / "file").is_file() and folder.parent == place
    # It might be that of a run that has just begun.
    with worker_scratch():
        assert folder.is_dir()
    aged(folder)
    with study_client(workers=1):
        assert not folder.exists() and len(list(place.glob("needleplan-study-*"))) == 1
    assert not list(place.glob("needleplan-study-*"))


def test_folders_in_use_of_others_and_links_stay(place):
    elsewhere = left(place / "elsewhere")
    (place / "needleplan-study-link").symlink_to(elsewhere)
    (place / "needleplan-study-file").write_text("mine", encoding="utf-8")
    (place / "needleplan-study-results").mkdir(mode=0o700)
    aged(place / "needleplan-study-results")
    before = set(place.iterdir())
    with worker_scratch() as one:
        aged(Path(one))
        with worker_scratch() as two:
            assert set(place.iterdir()) == before | {Path(one), Path(two)}
    assert set(place.iterdir()) == before and list(elsewhere.iterdir())


def test_a_folder_of_another_user_stays(place, monkeypatch):
    folder, user = left(place / "needleplan-study-other"), os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    with worker_scratch():
        assert folder.is_dir()
    monkeypatch.setattr(os, "getuid", lambda: user)
    with worker_scratch():
        assert not folder.exists()
