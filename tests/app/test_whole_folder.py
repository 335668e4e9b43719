"""A folder of results is there whole or not at all, and takes the place of nothing but what the command wrote."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from needleplan.app.whole_folder import require_own_folder, whole_folder
from needleplan.errors import OptionError
from needleplan.io.plan_file import write_json, write_text

MAIN = "main.json"


def write(folder: Path, word: str, fail: bool = False) -> None:
    with whole_folder(folder, MAIN, "rehearse") as unfinished:
        write_json(unfinished / MAIN, {"word": word})
        if fail:
            raise KeyboardInterrupt
        write_text(unfinished / "sub" / "rest", word)


def content(folder: Path) -> dict:
    return json.loads((folder / MAIN).read_text())


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "results"
    write(folder, "first")
    assert (folder / "sub/rest").read_text() == "first"
    assert content(folder) == {"word": "first", "files": ["sub/rest"]}
    with pytest.raises(KeyboardInterrupt):
        write(folder, "second", fail=True)
    assert content(folder)["word"] == "first" and list(tmp_path.iterdir()) == [folder]
    write(folder, "third")
    assert content(folder)["word"] == "third" and list(tmp_path.iterdir()) == [folder]
    (folder / MAIN).unlink()
    with pytest.raises(OptionError, match="not written by rehearse"):
        write(folder, "fourth")
    assert (folder / "sub/rest").read_text() == "third"


def test_an_empty_folder_that_somebody_made_is_taken(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    require_own_folder(folder, MAIN, "rehearse")
    write(folder, "first")
    assert content(folder)["word"] == "first" and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["reading.txt", "sub/more.txt", "own/"])
def test_a_folder_with_somebody_elses_files_is_refused_and_kept(tmp_path, name):
    folder = tmp_path / "results"
    write(folder, "first")
    mine = folder / name
    if name.endswith("/"):
        mine.mkdir()
    else:
        mine.write_text("mine")
    with pytest.raises(OptionError, match=rf"holds {name}, which main.json does not name") as refusal:
        write(folder, "second")
    assert "\n" not in str(refusal.value) and mine.exists() and content(folder)["word"] == "first"
    with pytest.raises(OptionError, match="does not name"):
        require_own_folder(folder, MAIN, "rehearse")


def test_what_is_put_there_while_the_command_works_is_kept(tmp_path):
    folder = tmp_path / "results"
    write(folder, "first")
    with pytest.raises(OptionError, match="does not name"), whole_folder(folder, MAIN, "rehearse") as unfinished:
        write_json(unfinished / MAIN, {})
        (folder / "reading.txt").write_text("mine")
    assert (folder / "reading.txt").read_text() == "mine" and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("text", ['{"word": 1}', "no json", '{"files": "rest"}', '{"files": [["rest"]]}'])
def test_a_folder_whose_files_nobody_listed_is_refused(tmp_path, text):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / MAIN).write_text(text)
    require_own_folder(folder, MAIN, "rehearse")
    (folder / "rest").write_text("x")
    with pytest.raises(OptionError, match="holds rest, which"):
        require_own_folder(folder, MAIN, "rehearse")


def test_links_files_and_places_where_nothing_can_be_made_are_refused(tmp_path):
    (tmp_path / "real").mkdir()
    for name, target in (("link", "real"), ("broken", "nowhere")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(OptionError, match="symbolic link"):
            require_own_folder(tmp_path / name, MAIN, "rehearse")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OptionError, match="is a file and no folder"):
        require_own_folder(tmp_path / "file", MAIN, "rehearse")
    with pytest.raises(OptionError, match="can be made"):
        require_own_folder(tmp_path / "file" / "deep" / "results", MAIN, "rehearse")
    require_own_folder(tmp_path / "new" / "deep", MAIN, "rehearse")
    assert not (tmp_path / "new").exists()


_KILLED = """
import os, signal, sys
from pathlib import Path
from needleplan.app import whole_folder as module
from needleplan.io.plan_file import write_json
folder, moment = Path(sys.argv[1]), sys.argv[2]
rename = Path.rename
def killing(self, target):
    if ".unfinished-" in self.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
if moment == "between":
    Path.rename = killing
with module.whole_folder(folder, "main.json", "rehearse") as unfinished:
    write_json(unfinished / "main.json", {"word": "killed"})
    if moment == "writing":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["writing", "between"])
def test_a_kill_loses_nothing_and_the_next_run_clears_up(tmp_path, capsys, moment):
    folder = tmp_path / "results"
    write(folder, "first")
    run = subprocess.run([sys.executable, "-c", _KILLED, str(folder), moment], timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL
    # The former results are there, under their name or set aside beside it.
    assert "first" in [content(path)["word"] for path in tmp_path.iterdir() if (path / MAIN).is_file()]
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(KeyboardInterrupt):
        write(folder, "second", fail=True)
    assert content(folder)["word"] == "first" and list(tmp_path.iterdir()) == [folder]
    said = capsys.readouterr().err
    assert "a run that was stopped" in said and ("put back" in said) == (moment == "between")


def test_a_run_that_still_works_is_left_alone(tmp_path):
    folder = tmp_path / "results"
    with whole_folder(folder, MAIN, "rehearse") as slow:
        write_json(slow / MAIN, {"word": "slow"})
        write(tmp_path / "other", "elsewhere")
        with whole_folder(folder, MAIN, "rehearse") as quick:
            write_json(quick / MAIN, {"word": "quick"})
        assert slow.exists() and content(folder)["word"] == "quick"
    assert content(folder)["word"] == "slow"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "results"]


@pytest.mark.parametrize(("umask", "folder_rights", "file_rights"), [(0o077, 0o700, 0o600), (0o022, 0o755, 0o644)])
def test_the_users_umask_decides_who_may_read(tmp_path, umask, folder_rights, file_rights):
    before = os.umask(umask)
    try:
        write(tmp_path / "results", "first")
    finally:
        os.umask(before)
    for path in (tmp_path / "results", tmp_path / "results/sub"):
        assert stat.S_IMODE(path.stat().st_mode) == folder_rights
    for name in (MAIN, "sub/rest"):
        assert stat.S_IMODE((tmp_path / "results" / name).stat().st_mode) == file_rights
