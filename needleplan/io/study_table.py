"""Results and times of a study as Parquet: one row a case and cell, units in the names, a description a column.

The columns are the fields of ``Row`` and ``Times`` in their order, their descriptions those of the docstrings. The
schema's metadata hold schema, version, and name and digest of the study. Times stand in a table of their own, so
that the results of a study are the same bytes whatever computed them.
"""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from needleplan.app.study.row_checks import require_row, require_times
from needleplan.app.study.study import Row, Times
from needleplan.errors import PlanFileError
from needleplan.io.bounded import file_size, write_atomically
from needleplan.io.value_json import from_json

RESULTS_SCHEMA = "needleplan.study_results"
TIMES_SCHEMA = "needleplan.study_times"
#: Version of both tables.
TABLE_VERSION = 1
#: A table of a study is no larger than this, as a file and unpacked.
MAXIMUM_BYTES, MAXIMUM_UNPACKED_BYTES = 2_000_000_000, 16_000_000_000
#: Rows that are written at a time.
_GROUP = 8192

Record = TypeVar("Record")


def write_results(path: Path, rows: Iterable[Row], name: str, digest: str) -> None:
    """results.parquet, whole or not at all; rows may come one by one and are not kept.

    Args:
        path: the file.
        rows: in the order in which they shall stand.
        name: of the study.
        digest: of the study.
    """
    _write(path, Row, rows, _metadata(RESULTS_SCHEMA, name, digest))


def write_times(path: Path, times: Iterable[Times], name: str, digest: str) -> None:
    """times.parquet; arguments as of ``write_results``."""
    _write(path, Times, times, _metadata(TIMES_SCHEMA, name, digest))


def read_rows(path: Path | str) -> list[Row]:
    """The rows of results.parquet.

    Raises:
        CaseError: there is no such file, or it is too large.
        PlanFileError: it is damaged, of another schema or version, or holds an impossible value.
    """
    return _read(Path(path), Row, RESULTS_SCHEMA, require_row)


def read_times(path: Path | str) -> list[Times]:
    """The rows of times.parquet; errors as of ``read_rows``."""
    return _read(Path(path), Times, TIMES_SCHEMA, require_times)


def descriptions(kind: type) -> dict[str, str]:
    """What each field of a dataclass is, as its docstring says it under ``Attributes``."""
    text = inspect.getdoc(kind) or ""
    lines = text.partition("Attributes:")[2].splitlines()
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        begun = re.fullmatch(r" {4}(\w+): (.*)", line)
        if begun:
            name = begun[1]
            found[name] = begun[2]
        elif name and line.startswith(" " * 8):
            found[name] += f" {line.strip()}"
    return found


def _metadata(schema: str, name: str, digest: str) -> dict[str, str]:
    return {"schema": schema, "version": str(TABLE_VERSION), "study": name, "digest": digest}


def _schema(kind: type, metadata: dict[str, str]) -> Any:
    import pyarrow as pa

    kinds = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    hints, told = typing.get_type_hints(kind), descriptions(kind)
    columns = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        plain = next(option for option in options if option is not type(None))
        columns.append(
            pa.field(
                field.name, kinds[plain], type(None) in options, {"description": told.get(field.name, field.name)}
            )
        )
    return pa.schema(columns, metadata=metadata)


def _write(path: Path, kind: type, records: Iterable[Any], metadata: dict[str, str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(kind, metadata)

    def write(part: Path) -> None:
        with parquet.ParquetWriter(part, schema) as writer:
            for group in _groups(records):
                columns = [pa.array([getattr(each, field.name) for each in group], field.type) for field in schema]
                writer.write_table(pa.table(columns, schema=schema))

    write_atomically(path, write)


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while group := list(islice(rest, _GROUP)):
        yield group


def _read(path: Path, kind: type[Record], schema: str, require: Callable[[Record, str], Record]) -> list[Record]:
    import pyarrow as pa
    from pyarrow import parquet

    file_size(path, MAXIMUM_BYTES)
    try:
        file = parquet.ParquetFile(path)
        said = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
        if said.get("schema") != schema or said.get("version") != str(TABLE_VERSION):
            raise PlanFileError(f"{path}: not a table {schema} of version {TABLE_VERSION}")
        expected = _schema(kind, {})
        if not file.schema_arrow.equals(expected):
            raise PlanFileError(f"{path}: its columns are not those of {schema}, version {TABLE_VERSION}")
        unpacked = sum(file.metadata.row_group(k).total_byte_size for k in range(file.metadata.num_row_groups))
        if unpacked > MAXIMUM_UNPACKED_BYTES:
            raise PlanFileError(
                f"{path}: the table unpacks to {unpacked} bytes, more than the limit of {MAXIMUM_UNPACKED_BYTES}"
            )
        found = []
        for number, row in enumerate(file.read().to_pylist(), 1):
            where = f"{path}: row {number}"
            found.append(require(from_json(kind, row, where), where))
        return found
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # The library's sentences may be several lines long.
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PlanFileError(f"{path}: the table is damaged ({first})") from error
