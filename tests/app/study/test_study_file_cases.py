"""The cases of a study: files, folders and globs found in bounds, and phantoms that depend on their seeds alone."""

import os
from pathlib import Path

import pytest
from made_study_files import HEAD, manifest, study_file

from needleplan.app.study import manifest_paths
from needleplan.app.study.study import Study, StudyCase
from needleplan.app.study.study_file import read_study
from needleplan.case.sources import DATA_VARIABLE
from needleplan.errors import OptionError


def read(tmp_path: Path, *tables: str, data: Path | None = None) -> Study:
    cases = "".join(f"[[cases]]\n{table}\n" for table in tables)
    return read_study(study_file(tmp_path, cases=cases), data)


def names(tmp_path: Path, *tables: str) -> list[str]:
    return [case.name for case in read(tmp_path, *tables).cases]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Folders of three cases, one of them deeper, a case that is a file, and what is no case."""
    for name in ("b", "a", "deep/c"):
        manifest(tmp_path / "cohort" / name / "case.toml")
    manifest(tmp_path / "cohort" / "d.toml")
    manifest(tmp_path / "cohort" / "README.md")
    manifest(tmp_path / "cohort" / ".hidden" / "case.toml")
    (tmp_path / "cohort" / "empty").mkdir()
    return tmp_path


def test_files_folders_and_globs_in_order_and_sorted(cohort: Path) -> None:
    assert names(cohort, 'manifests = ["cohort/b/case.toml", "cohort/a", "cohort/d.toml"]') == ["b", "a", "d"]
    assert names(cohort, 'manifests = "cohort/*"') == ["a", "b", "d"]
    assert names(cohort, 'manifests = "cohort/[ab]"') == ["a", "b"]
    assert names(cohort, 'manifests = "cohort/**/case.toml"') == ["a", "b", "c"]
    assert names(cohort, f'manifests = "{cohort}/cohort/?"') == ["a", "b"]
    assert names(cohort, 'manifests = "cohort/.*"') == ["hidden"]


def test_paths_are_absolute_and_count_from_the_study(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cohort.parent)
    file = study_file(cohort, cases='[[cases]]\nmanifests = "cohort/a"')
    found = read_study(Path(os.path.relpath(file))).cases[0]
    assert found == StudyCase("a", manifest=cohort / "cohort" / "a" / "case.toml")


def test_paths_count_from_where_a_linked_study_is_named(cohort: Path) -> None:
    file = study_file(cohort, cases='[[cases]]\nmanifests = "*"')
    link = cohort / "cohort" / "linked.toml"
    link.symlink_to(file)
    assert [case.name for case in read_study(link).cases] == ["a", "b", "d"]


def test_a_broken_case_is_no_error_of_the_study_but_a_missing_one_is(cohort: Path) -> None:
    (cohort / "cohort" / "a" / "case.toml").write_bytes(b"\xff\x00 no TOML")
    assert names(cohort, 'manifests = "cohort/a"') == ["a"]
    with pytest.raises(
        OptionError, match=r"number 1: manifests: there are no cases at these 2 places: 'x', 'y/\*';"
    ):
        read(cohort, 'manifests = ["x", "cohort/a", "y/*"]')
    with pytest.raises(OptionError, match=r"there is no case at 'cohort/empty'; each must be a manifest, a folder"):
        read(cohort, 'manifests = "cohort/empty"')
    with pytest.raises(OptionError, match=r"these 9 places: .* and 4 more"):
        read(cohort, f"manifests = {[f'x{k}' for k in range(9)]}")


def test_a_glob_does_not_take_the_study_itself_for_a_case(cohort: Path) -> None:
    manifest(cohort / "e.toml")
    assert names(cohort, 'manifests = "*.toml"') == ["e"]
    (cohort / "e.toml").unlink()
    with pytest.raises(OptionError, match="there is no case at"):
        read(cohort, 'manifests = "*.toml"')


@pytest.mark.parametrize("second", ['"cohort/a"', '"cohort/*"', '"cohort/../cohort/a/case.toml"', '"link"'])
def test_a_case_named_twice_is_refused(cohort: Path, second: str) -> None:
    (cohort / "link").symlink_to(cohort / "cohort" / "a")
    with pytest.raises(OptionError, match=r"the case .*cohort/a/case.toml is named twice, by 'cohort/a' and "):
        read(cohort, f'manifests = ["cohort/a", {second}]')
    with pytest.raises(OptionError, match="stands in two tables"):
        read(cohort, 'manifests = "cohort/a"', f'name = "x"\nmanifests = {second}')


def test_two_cases_of_one_name_need_names_for_their_tables(cohort: Path) -> None:
    manifest(cohort / "other" / "A" / "case.toml")
    tables = ['manifests = "cohort/a"', 'manifests = "other/A"']
    with pytest.raises(
        OptionError,
        match=r"two cases would be called 'A', .*cohort/a/case.toml and .*other/A/case.toml; capitals do not "
        r"count, so 'a' is the same name: put them into two",
    ):
        read(cohort, *tables)
    assert names(cohort, *(f'name = "site{k}"\n{table}' for k, table in enumerate(tables))) == [
        "site0-a",
        "site1-A",
    ]


def test_names_are_good_for_folders(tmp_path: Path) -> None:
    strange = "\u202e<script> 'Zoë' &\"x"
    manifest(tmp_path / strange / "case.toml")
    found = names(tmp_path, 'manifests = "*"')
    assert found == ["script---Zoë----x"]
    assert (tmp_path / found[0]).parent == tmp_path


def test_names_fit_into_folders_with_the_name_of_their_table_and_stay_different(tmp_path: Path) -> None:
    for end in "ab":
        manifest(tmp_path / f"{'患' * 80}{end}" / "case.toml")
    table = "x" * 40
    found = names(tmp_path, f'name = "{table}"\nmanifests = "*"')
    assert len(set(found)) == 2 and all(name.startswith(f"{table}-患患") for name in found)
    assert all(100 < len(name.encode()) <= 143 for name in found)
    for name in found:
        (tmp_path / name).mkdir()
    # One that fits stays as it is, with its table.
    manifest(tmp_path / "few" / ("y" * 100) / "case.toml")
    assert names(tmp_path, f'name = "{table}"\nmanifests = "few/*"') == [f"{table}-{'y' * 100}"]


def test_no_glob_looks_into_results_of_a_study(cohort: Path) -> None:
    out = cohort / "cohort" / "out"
    manifest(out / "cases" / "phantom-0" / "case.toml")
    manifest(out / "case.toml")
    manifest(out / "study.json", '{"schema": "other", "needleplan.study": 1}')
    patterns = [("cohort/**/case.toml", ["a", "b", "c"]), ("cohort/*", ["a", "b", "d"])]
    assert [names(cohort, f'manifests = "{text}"') for text, _ in patterns] == [
        ["a", "b", "c", "out", "phantom-0"],
        ["a", "b", "d", "out"],
    ]
    manifest(out / "study.json", '{\n "schema": "needleplan.study",\n "version": 1')
    assert [names(cohort, f'manifests = "{text}"') for text, _ in patterns] == [each for _, each in patterns]
    with pytest.raises(OptionError, match=r"no case at 'cohort/out/cases/\*'; .* outside the results of studies"):
        read(cohort, 'manifests = "cohort/out/cases/*"')
    # Who names such a patient himself wants him.
    assert names(cohort, 'manifests = "cohort/out/cases/phantom-0"') == ["phantom-0"]


def test_links_in_circles_pipes_and_huge_trees_end(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cohort / "cohort" / "circle").symlink_to(cohort / "cohort")
    (cohort / "cohort" / "self").symlink_to(cohort / "cohort" / "self")
    os.mkfifo(cohort / "cohort" / "pipe.toml")
    (cohort / "cohort" / "gone.toml").symlink_to(cohort / "nowhere")
    assert names(cohort, 'manifests = "cohort/**/case.toml"') == ["a", "b", "c"]
    assert names(cohort, 'manifests = "cohort/*"') == ["a", "b", "d"]
    for path in ("cohort/pipe.toml", "cohort/self", "cohort/self/case.toml", "x" * 300, "x/" * 400):
        with pytest.raises(OptionError, match=r"there is no case at|cannot be followed"):
            read(cohort, f'manifests = "{path}"')
    with pytest.raises(OptionError, match=r"manifests is .*; it must be a text in one line"):
        read(cohort, 'manifests = "a\\u0000b"')
    monkeypatch.setattr(manifest_paths, "_MOST_ENTRIES", 5)
    with pytest.raises(OptionError, match="more than 5 entries of folders to look at"):
        read(cohort, 'manifests = "cohort/**/case.toml"')


def test_a_chain_of_folders_deeper_than_the_bound_is_refused(tmp_path: Path) -> None:
    manifest(tmp_path.joinpath(*["d"] * 40) / "case.toml")
    with pytest.raises(OptionError, match="leads more than 32 folders down"):
        read(tmp_path, 'manifests = "**/case.toml"')
    # However many of them stand in a row, each folder is looked at once.
    manifest(tmp_path / "few" / "x" / "case.toml")
    assert names(tmp_path, f'manifests = "few/{"**/" * 200}case.toml"') == ["x"]


def test_data_folders_of_the_table_the_caller_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest(tmp_path / "wants.toml", 'sources_from = "data"')
    manifest(tmp_path / "beside.toml", 'sources_from = "manifest"')
    for name in ("stated", "given", "named"):
        (tmp_path / name).mkdir()
    both = 'manifests = ["wants.toml", "beside.toml"]'
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "named"))
    assert [case.data for case in read(tmp_path, both).cases] == [tmp_path / "named", None]
    found = read(tmp_path, both, data=tmp_path / "given").cases
    assert [case.data for case in found] == [tmp_path / "given", None]
    found = read(tmp_path, f'{both}\ndata = "stated"', data=tmp_path / "given").cases
    assert [case.data for case in found] == [tmp_path / "stated"] * 2
    with pytest.raises(OptionError, match=r"number 1: data names .*/missing, which is no folder"):
        read(tmp_path, f'{both}\ndata = "missing"')
    monkeypatch.delenv(DATA_VARIABLE)
    with pytest.raises(OptionError, match=r"lie in a data folder: name it by data in the table, by --data DIR"):
        read(tmp_path, both)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"\[\[cases\]\] number 1: give either manifests, or phantoms"),
        ('phantoms = 2\nmanifests = "x"', "give either manifests, or phantoms"),
        ('manifests = "x"\nfirst_seed = 2', "first_seed and population are for phantoms"),
        ('phantoms = 2\ndata = "x"', "data is for manifests"),
        ("phantoms = 0", "phantoms is 0"),
        ("phantoms = 200001", "phantoms is 200001"),
        ("phantoms = 2.5", "phantoms is 2.5"),
        ("phantoms = 2\nfirst_seed = -1", "first_seed is -1"),
        ("phantoms = 2\nfirst_seed = 9007199254740991", "must leave no seed above 9007199254740991"),
        ('name = "a/b"\nphantoms = 2', r"\[\[cases\]\] 'a/b': name is 'a/b'"),
        ('name = ".."\nphantoms = 2', "name is '..'"),
        ("phantom = 2", "unknown key 'phantom'; did you mean 'phantoms'"),
        ("phantoms = 1\n[cases.population]\nradius = 3", "unknown key 'radius'; did you mean 'radius_mm'"),
        ("phantoms = 1\n[cases.population]\nradius_mm = [9, 3]", "number 1: population: radius_mm must be a range"),
        ("phantoms = 1\n[cases.population]\nradius_mm = [9, nan]", "radius_mm is nan"),
        ("phantoms = 1\n[cases.population]\nradius_mm = 9", "radius_mm is 9; it must be a list in brackets"),
        ("phantoms = 1\n[cases.population]\nradius_mm = [9]", "radius_mm has too few values, only 1"),
        ("phantoms = 1\n[cases.population]\nradius_mm = [7, 8, 9]", "radius_mm has 3 values, more than the 2 it"),
        ("manifests = 3", "manifests is 3; it must be a list in brackets"),
        (
            'manifests = "study.toml"',
            "manifests: 'study.toml' is this study file itself: name the manifests of its",
        ),
        ('manifests = "./study.toml"', "is this study file itself"),
        ('manifests = "study.tom?"', "there is no case at 'study.tom?'".replace("?", r"\?")),
        ('manifests = ""', "manifests is ''; it must be a text in one line that is not blank"),
        ("phantoms = 1\n[cases.population]\nvoxel_mm = 0", "voxel_mm is 0"),
        (
            "phantoms = 1\n[cases.population]\nshapes = { shpere = 1 }",
            "unknown key 'shpere'; did you mean 'sphere'",
        ),
        ("phantoms = 1\n[cases.population]\nbody_scale = 1.45", "population: body_scale, .* allow a body_width_mm"),
    ],
)
def test_each_broken_table_gives_one_sentence(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        read(tmp_path, table)
    # Each is one fault and counts as one.
    assert "\n" not in str(caught.value) and "more)" not in str(caught.value)


def test_a_table_of_cases_in_place_of_a_list_of_them_is_told_so(tmp_path: Path) -> None:
    for cases in ("[cases]\nphantoms = 2", "cases = 3"):
        head = "" if cases.startswith("[") else f"{cases}\n"
        with pytest.raises(OptionError, match=r"each entry is a table of its own that begins with \[\[cases\]\]"):
            read_study(study_file(tmp_path, cases="" if head else cases, head=head + HEAD))
    with pytest.raises(OptionError, match=r"\(and 1 more mistake\)"):
        read(tmp_path, "phantoms = 0\nfirst_seed = -1")


def test_the_files_of_the_machine_are_no_cases(tmp_path: Path) -> None:
    for path in ("/proc/self/mem", "/proc/self/environ"):
        (tmp_path / "link.toml").unlink(missing_ok=True)
        (tmp_path / "link.toml").symlink_to(path)
        for text in (path, "link.toml", "l*.toml"):
            with pytest.raises(OptionError, match="there is no case at"):
                read(tmp_path, f'manifests = "{text}"')


def test_a_folder_that_cannot_be_looked_into_is_named(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = os.scandir

    def closed(path: Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path)

    monkeypatch.setattr(manifest_paths.os, "scandir", closed)
    with pytest.raises(OptionError, match=r"cannot be followed \(.*/cohort/deep: Permission denied\)"):
        read(cohort, 'manifests = "cohort/**/case.toml"')


def test_a_phantom_is_the_same_whatever_others_there_are(tmp_path: Path) -> None:
    population = "\n[cases.population]\nradius_mm = [8, 20]\nvoxel_mm = 2.5"
    many = read(tmp_path, f"phantoms = 40\nfirst_seed = 10{population}").cases
    one = read(tmp_path, "phantoms = 2", f"phantoms = 1\nfirst_seed = 33{population}").cases[-1]
    assert one == many[23] and one.name == "phantom-33" and one.voxel_mm == 2.5
    assert len({case.phantom.canonical_text for case in many if case.phantom is not None}) == 40


def test_tables_of_phantoms_with_the_same_seeds_need_names(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="two cases would be called 'phantom-4', the phantom of seed 4 and the"):
        read(tmp_path, "phantoms = 5", "phantoms = 1\nfirst_seed = 4")
    assert names(tmp_path, "phantoms = 1", 'name = "near"\nphantoms = 1') == ["phantom-0", "near-0"]
