"""Small study files for tests."""

from pathlib import Path

HEAD = 'schema = "needleplan.study"\nversion = 1\nname = "trial"\nseed = 7\n'
PHANTOMS = "[[cases]]\nphantoms = 3\n"


def study_file(folder: Path, body: str = "", cases: str = PHANTOMS, head: str = HEAD) -> Path:
    """A study file in a folder."""
    path = folder / "study.toml"
    path.write_text(f"{head}\n{cases}\n{body}\n", encoding="utf-8")
    return path


def manifest(path: Path, text: str = "this is no case") -> Path:
    """A file where a manifest is expected; nothing that reads a study looks into it any deeper."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
