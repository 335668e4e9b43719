"""From a manifest's paths to files, none of which may lie outside their root."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from needleplan.case.manifest import Manifest
from needleplan.errors import CaseError

#: Environment variable that names the data folder.
DATA_VARIABLE = "NEEDLEPLAN_DATA"


def source_root(manifest: Manifest, path: Path, data_root: Path | None) -> Path:
    """The folder that relative sources count from.

    Args:
        manifest: the manifest.
        path: where it was read from.
        data_root: the caller's data folder; it wins over everything else.

    Raises:
        CaseError: the manifest wants a data folder and none is named, or it does not exist.
    """
    if data_root is None and manifest.sources_from == "data":
        named = os.environ.get(DATA_VARIABLE, "")
        if not named:
            raise CaseError(
                f"{path}: its sources lie in a data folder; name it with --data DIR or the environment variable "
                f"{DATA_VARIABLE}"
            )
        data_root = Path(named)
    root = path.parent if data_root is None else data_root
    if not root.is_dir():
        raise CaseError(f"{root}: the data folder does not exist")
    return root.resolve()


def resolve_source(root: Path, source: str) -> Path:
    """The file that a manifest's relative path names.

    Raises:
        CaseError: the path is absolute, leaves ``root`` by '..' or a symbolic link, or names no file.
    """
    pure = PurePosixPath(source)
    if "\x00" in source or "\\" in source or pure.is_absolute() or PureWindowsPath(source).drive:
        raise CaseError(f"{source!r}: a source must be a relative path with forward slashes")
    if ".." in pure.parts:
        raise CaseError(f"{source!r}: a source must not leave its folder by '..'")
    path = root / source
    try:
        real = path.resolve()
    except (OSError, RuntimeError):
        raise CaseError(f"{source!r}: the path cannot be followed") from None
    if not real.is_relative_to(root):
        raise CaseError(f"{source!r}: the path leads outside {root} through a symbolic link")
    if not real.is_file():
        raise CaseError(f"{path}: there is no such file")
    return path
