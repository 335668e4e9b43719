"""Tables of studies: what is written is read back, described column by column, and bad files are told."""

import dataclasses

import pytest
from pyarrow import parquet

from needleplan.app.study.study import Cell, Row, StudyCase, Times
from needleplan.errors import CaseError, PlanFileError
from needleplan.io import study_table
from needleplan.io.study_table import descriptions, read_rows, read_times, write_results, write_times


def rows(count: int = 5) -> list[Row]:
    found = []
    for k in range(count):
        case = StudyCase(f"case «{k}» </script>")
        failed = Row.failed(case, Cell(power_w=None if k % 2 else 80.0), k, "no such file: ä\u202e")
        searched = {
            "status": "infeasible",
            "target_ml": 0.1 * k,
            "candidates": k,
            "feasible": 0,
            "case_hash": "0" * 64,
        }
        found.append(dataclasses.replace(failed, **searched if k else {}))
    return found


def test_rows_and_times_are_read_back_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(study_table, "_GROUP", 2)
    path = tmp_path / "results.parquet"
    write_results(path, iter(rows()), "a study", "0" * 64)
    assert read_rows(path) == rows()
    times = [Times("a", "b", 1.5, worker="x:1"), Times("a", "c")]
    write_times(tmp_path / "times.parquet", times, "a study", "0" * 64)
    assert read_times(tmp_path / "times.parquet") == times
    write_results(path, (), "nothing", "0" * 64)
    assert read_rows(path) == []


def test_the_same_rows_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_results(tmp_path / name, rows(), "a study", "0" * 64)
    write_results(tmp_path / "c", rows(4), "a study", "0" * 64)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("kind", [Row, Times])
def test_every_column_is_described(kind):
    told = descriptions(kind)
    assert set(told) == {field.name for field in dataclasses.fields(kind)}
    assert all(told.values())


def test_the_schema_holds_units_descriptions_and_the_study(tmp_path):
    path = tmp_path / "results.parquet"
    write_results(path, rows(), "a study", "0" * 64)
    schema = parquet.read_schema(path)
    assert schema.metadata[b"study"] == b"a study" and schema.metadata[b"digest"] == b"0" * 64
    assert b"proven" in schema.field("lower_bound").metadata[b"description"]
    numbers = [field.name for field in schema if str(field.type) == "double"]
    plain = {"chance_covered", "chance_margin", "chance_harm", "lower_bound"}
    plain |= {f"{name}_{end}" for name in plain for end in ("low", "high")}
    units = ("_mm", "_ml", "_s", "_w", "_fraction")
    assert all(name.endswith(units) or name in plain for name in numbers)


def test_bad_tables_are_told_in_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "results.parquet"
    with pytest.raises(CaseError, match="no such file"):
        read_rows(path)
    write_times(path, [Times("a", "b")], "a", "b")
    with pytest.raises(PlanFileError, match=r"not a table needleplan\.study_results"):
        read_rows(path)
    write_results(path, rows(), "a", "b")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PlanFileError, match="damaged"):
        read_rows(path)
    for value in (float("nan"), -1.7e308, 1.7e308):
        write_results(path, [rows()[0], dataclasses.replace(rows()[1], target_ml=value)], "a", "b")
        with pytest.raises(PlanFileError, match=rf"{path}: row 2.*target_ml"):
            read_rows(path)
    write_times(tmp_path / "times.parquet", [Times("a", "b", processor_s=-1e300)], "a", "b")
    with pytest.raises(
        PlanFileError, match=r"times\.parquet: row 1: processor_s is -1e\+300, and must lie between"
    ):
        read_times(tmp_path / "times.parquet")
    write_results(path, rows(), "a", "b")
    monkeypatch.setattr(study_table, "MAXIMUM_UNPACKED_BYTES", 10)
    with pytest.raises(PlanFileError, match="unpacks to"):
        read_rows(path)
    table = parquet.read_table(path)
    parquet.write_table(table.drop_columns(["reason"]).replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(PlanFileError, match="columns are not those"):
        read_rows(path)
