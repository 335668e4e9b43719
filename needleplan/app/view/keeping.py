"""What leaves the page: an edited plan as a folder that other commands read, and files for other programs."""

import dataclasses
import io
import os
import re
import secrets
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from needleplan.app.export_command import export_plan
from needleplan.app.export_formats import chosen_formats
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import write_plan_folder
from needleplan.app.pipeline import PlannedCase
from needleplan.app.view.judging import Judged
from needleplan.case.identity import CaseIdentity
from needleplan.errors import OptionError

#: Letters of a name that a user gives: nothing that a path could be made of.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
#: Names that Windows gives to devices, so that a folder of theirs could not be copied there.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)")


def require_name(name: str) -> str:
    """``name`` where it can be that of a new folder.

    Raises:
        OptionError: it cannot.
    """
    if not _NAME.fullmatch(name) or _DEVICES.fullmatch(name):
        raise OptionError(
            f"{name[:80]!r} is no name for a plan: take 1 to 60 letters (A to Z, no accents), digits, - and _, "
            "a letter or digit first"
        )
    return name


@dataclass(frozen=True, slots=True)
class OpenedFolder:
    """What is kept with each edited plan, from the folder that was opened: it may be gone when one is saved.

    Attributes:
        manifest: of the case.
        data: data folder of the case; None where it has none.
        identity: whose case it is.
        tables: applicators and zones of its own; None where the folder has none.
    """

    manifest: Path
    data: Path | None
    identity: CaseIdentity
    tables: tuple[bytes, bytes] | None

    @classmethod
    def read(cls, folder: PlanFolder, data: Path | None) -> "OpenedFolder":
        """From a folder.

        Args:
            folder: of the plan that is opened.
            data: data folder that was named for it; the remembered one where None.

        Raises:
            PlanFileError: what the folder says of its case is damaged.
        """
        source = folder.read_source()
        root = data if data is not None else (None if source.data is None else folder.root / source.data)
        tables = None
        if folder.applicators.is_file() and folder.zones.is_file():
            tables = (folder.applicators.read_bytes(), folder.zones.read_bytes())
        return cls(
            (folder.root / source.case).resolve(), None if root is None else root.resolve(), source.identity, tables
        )


def save_plan(opened: OpenedFolder, planned: PlannedCase, judged: Judged, place: Path) -> None:
    """Write an edited plan as a new folder, whole or not at all.

    Args:
        opened: the folder of the plan that was opened.
        planned: the plan that was opened.
        judged: the edited plan.
        place: the new folder; nothing may stand there.

    Raises:
        OptionError: nothing was edited, something stands there already, or nothing can be written there.
    """
    if judged.plan is planned.plan:
        raise OptionError(
            "nothing was moved, so there is no edited plan to save: the plan is in its folder already"
        )
    if place.exists() or place.is_symlink():
        raise OptionError(
            f"there is something named {place.name} already, and nothing is written over: take another name"
        )
    edited = dataclasses.replace(planned, plan=judged.plan, assessment=judged.assessment)
    # Beside its place, so that the paths in its source.json hold after it was renamed.
    unfinished = place.with_name(f".{place.name}.unfinished-{secrets.token_hex(6)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()
        kept = PlanFolder(unfinished)
        write_plan_folder(kept, edited, opened.manifest, opened.data, tables=opened.tables, pictures=False)
        if place.exists():
            raise OptionError(f"something named {place.name} was made meanwhile: take another name")
        os.rename(unfinished, place)
    except OSError as error:
        raise OptionError(f"the plan cannot be saved in {place.parent}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def slicer_archive(opened: OpenedFolder, planned: PlannedCase, judged: Judged) -> bytes:
    """The files of ``needleplan export --to slicer`` for an edited plan, as one ZIP archive.

    Raises:
        OptionError: the plan holds no needle, or nothing can be written to the temporary folder.
        GeometryError: a structure cannot be written in a format.
    """
    edited = dataclasses.replace(planned, plan=judged.plan, assessment=judged.assessment)
    try:
        with tempfile.TemporaryDirectory(prefix="needleplan-export-") as made:
            place = Path(made) / "for-slicer"
            export_plan(edited, place, chosen_formats("slicer"), identity=opened.identity)
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
                for path in sorted(each for each in place.rglob("*") if each.is_file()):
                    written.write(path, Path(place.name) / path.relative_to(place))
            return archive.getvalue()
    except OSError as error:
        raise OptionError(f"the export cannot be written: {error.strerror or error}") from error
