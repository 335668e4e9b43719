"""Pages of the files that documents link to and that are no documents: tables, descriptions, tests, folders."""

import os
from pathlib import Path

#: A longer file is shown to this line.
MOST_LINES = 1500
_LANGUAGES = {".py": "python", ".toml": "toml", ".urdf": "xml", ".sh": "bash", ".json": "json"}


class FilePages:
    """Collects the files that are linked and writes a page of each."""

    def __init__(self, root: Path, sources: Path) -> None:
        self._root = root
        self._sources = sources
        self._wanted: dict[Path, Path] = {}

    def page_of(self, file: Path) -> Path:
        """The page of a file or folder, from the site's root; it is written by :meth:`write`."""
        page = Path("files", "-".join(file.parts) + ".md")
        self._wanted[file] = page
        return page

    def write(self) -> None:
        """Write every page that was asked for, and those of the files in folders that were."""
        for folder in [file for file in self._wanted if (self._root / file).is_dir()]:
            for inner in sorted((self._root / folder).iterdir()):
                if inner.is_file() and not inner.name.startswith(("__", ".")):
                    self.page_of(inner.relative_to(self._root))
        for file, page in self._wanted.items():
            target = self._sources / page
            target.parent.mkdir(parents=True, exist_ok=True)
            body = self._listing(file) if (self._root / file).is_dir() else self._content(file)
            target.write_text(f"---\norphan: true\n---\n\n# {file.as_posix()}\n\n{body}\n", encoding="utf-8")

    def _listing(self, folder: Path) -> str:
        inner = [file for file in self._wanted if file.parent == folder]
        return "\n".join(f"- [{file.name}]({os.path.relpath(self._wanted[file], 'files')})" for file in inner)

    def _content(self, file: Path) -> str:
        lines = (self._root / file).read_text(encoding="utf-8").splitlines()
        more = f"\n\nThe first {MOST_LINES} of {len(lines)} lines.\n" if len(lines) > MOST_LINES else ""
        text = "\n".join(lines[:MOST_LINES])
        return f"````````{_LANGUAGES.get(file.suffix, 'text')}\n{text}\n````````{more}"
