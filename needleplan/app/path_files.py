"""Files of a study of paths: paths.json and the skin map as a picture."""

from pathlib import Path

from needleplan.anatomy.model import Anatomy
from needleplan.app.paths import PathStudy
from needleplan.io.plan_file import write_json
from needleplan.io.value_json import to_json
from needleplan.viz.offscreen import RenderingError
from needleplan.viz.pictures import draw_skin_map

PATHS_SCHEMA = "needleplan.paths"
VERSION = 1


def write_paths(
    folder: Path, study: PathStudy, anatomy: Anatomy, *, pictures: bool = True
) -> list[tuple[str, str]]:
    """Write paths.json and skin-map.png; returns what lies where, for people.

    An older skin map in the folder is removed first, so that it never stands beside another study.
    """
    report = folder / "paths.json"
    picture_file = folder / "skin-map.png"
    picture_file.unlink(missing_ok=True)
    write_json(report, {"schema": PATHS_SCHEMA, "version": VERSION, **to_json(study)})
    places = [("paths", str(report))]
    if pictures and len(study.skin):
        try:
            picture = draw_skin_map(anatomy, study.skin)
        except RenderingError as error:
            places.append(("no skin map", str(error)))
        else:
            places.append(("skin map", str(picture.save(folder))))
    return places
