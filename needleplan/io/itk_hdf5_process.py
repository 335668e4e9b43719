"""A process of its own that reads ITK's transforms in HDF5 from standard input and says as JSON what they are.

HDF5 is a file system in a file: one that is damaged on purpose can keep the library busy for ever, which nothing
within the process could end. Here memory and time are limited from the outside. Nothing of the project is imported.
"""

import io
import json
import sys
from typing import Any, NoReturn

_MAXIMUM_TRANSFORMS = 16
_MAXIMUM_NUMBERS = 64
#: Numbers that one chunk of a dataset may declare, each of which is allocated at once.
_MAXIMUM_CHUNK = 65_536
_MAXIMUM_NAME = 200
_MAXIMUM_MEMORY = 2_000_000_000
#: Of the processor; a sound file takes less than a second.
_MAXIMUM_SECONDS = 2
#: Filters that are part of the library: deflate, shuffle, checksum. Others would load a plugin.
_KNOWN_FILTERS = frozenset({1, 2, 3})
#: Before version 5, ITK's writer left out a letter.
_PARAMETERS = ("TransformParameters", "TranformParameters")
_FIXED = ("TransformFixedParameters", "TranformFixedParameters")


class _RefusedError(Exception):
    """The file is not what is read; the message says why."""


def main() -> NoReturn:
    """One JSON object: ``transforms`` (kind, parameters, fixed), or ``refused`` with a sentence."""
    _limit()
    data = sys.stdin.buffer.read()
    answer: dict[str, Any]
    try:
        answer = {"transforms": _transforms(data)}
    except _RefusedError as error:
        answer = {"refused": str(error)}
    except Exception as error:  # the library raises nearly every kind of error on damaged files
        answer = {"refused": f"the HDF5 file is damaged ({type(error).__name__})"}
    print(json.dumps(answer, allow_nan=False))
    raise SystemExit(0)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # not a Unix system: the time is limited by the caller, the memory by the size of the file
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MAXIMUM_MEMORY, _MAXIMUM_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_MAXIMUM_SECONDS, _MAXIMUM_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _transforms(data: bytes) -> list[dict[str, Any]]:
    import h5py

    with h5py.File(io.BytesIO(data), "r") as file:
        group = _member(file, ("TransformGroup",), h5py.Group)
        count = len(group)
        if count > _MAXIMUM_TRANSFORMS:
            raise _RefusedError(f"more than {_MAXIMUM_TRANSFORMS} transforms in one file are not read")
        return [_transform(group, k) for k in range(count)]


def _transform(group: Any, number: int) -> dict[str, Any]:
    import h5py

    single = _member(group, (str(number),), h5py.Group)
    kind = _member(single, ("TransformType",), h5py.Dataset)
    _plain_storage(kind)
    if h5py.check_string_dtype(kind.dtype) is None or kind.size != 1 or kind.dtype.itemsize > _MAXIMUM_NAME:
        raise _RefusedError("TransformType must be one text")
    stored = kind.asstr("ascii")[()]
    name = str(stored if isinstance(stored, str) else stored.ravel()[0])[:_MAXIMUM_NAME]
    if name.startswith("CompositeTransform"):
        return {"kind": name, "parameters": [], "fixed": []}
    parameters = _numbers(_member(single, _PARAMETERS, h5py.Dataset))
    return {"kind": name, "parameters": parameters, "fixed": _numbers(_member(single, _FIXED, h5py.Dataset))}


def _member(group: Any, names: tuple[str, ...], kind: type) -> Any:
    """The member of the first of these names that is there; only a plain (hard) link is followed."""
    import h5py

    for name in names:
        link = group.get(name, getlink=True)
        if link is None:
            continue
        if type(link) is not h5py.HardLink:
            raise _RefusedError(f"{name} is a link to another place, and links are not followed")
        member = group[name]
        if not isinstance(member, kind):
            raise _RefusedError(f"{name} must be a {kind.__name__.lower()}")
        return member
    raise _RefusedError(f"the file lacks {names[0]}, so it is no transform file of ITK")


def _plain_storage(dataset: Any) -> None:
    """Refuse a dataset whose numbers lie in other files or in chunks of any size."""
    settings = dataset.id.get_create_plist()
    if dataset.external or dataset.is_virtual:
        raise _RefusedError("the numbers lie in another file, and none is opened")
    filters = {settings.get_filter(k)[0] for k in range(settings.get_nfilters())}
    if filters - _KNOWN_FILTERS:
        raise _RefusedError("the numbers are packed by a filter that is no part of HDF5")
    chunk = 1
    for size in dataset.chunks or ():
        chunk *= int(size)
    if chunk > _MAXIMUM_CHUNK or len(dataset.shape or ()) > 1:
        raise _RefusedError("a dataset is stored in larger or other chunks than a transform needs")


def _numbers(dataset: Any) -> list[float]:
    import math

    _plain_storage(dataset)
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (4, 8) or dataset.shape is None:
        raise _RefusedError(f"parameters must be floating-point numbers, not {dataset.dtype}")
    if dataset.size > _MAXIMUM_NUMBERS:
        raise _RefusedError(f"a linear transform has at most {_MAXIMUM_NUMBERS} numbers")
    values = [float(value) for value in dataset[()].ravel()]
    if not all(math.isfinite(value) for value in values):
        raise _RefusedError("a parameter is not a finite number")
    return values


if __name__ == "__main__":
    main()
