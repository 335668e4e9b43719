"""The viewer as a piece of a page: nothing fetched, nothing let through, nothing too large."""

import base64
import hashlib
import re

import pytest
from made_scene import HOSTILE, made_scene

from needleplan.app.page.document import scene_text, viewer_files, viewer_html
from needleplan.app.report_template import hash_source
from needleplan.errors import OptionError


def test_three_is_the_release_its_note_names():
    files = viewer_files()
    note = files["three/README.md"].content.decode()
    named = dict(reversed(pair) for pair in re.findall(r"([0-9a-f]{64})  (\S+)", note))
    assert set(named) == {"three.core.js", "three.module.js", "LICENSE"}
    for name, told in named.items():
        assert hashlib.sha256(files[f"three/{name}"].content).hexdigest() == told


def test_files_for_a_server_have_their_kinds():
    files = viewer_files()
    assert files["viewer.js"].media_type == "text/javascript"
    assert files["viewer.css"].media_type == "text/css"
    for name, file in files.items():
        if name.endswith(".js"):
            for loaded in re.findall(r'from\s*["\'](\./[^"\']+)["\']', file.content.decode()):
                folder = name.rpartition("/")[0]
                assert f"{folder}/{loaded[2:]}".lstrip("/") in files


def test_the_policy_allows_exactly_this_script_and_style():
    piece = viewer_html(made_scene())
    scripts = re.findall(r"<script>(.*?)</script>", piece.body, flags=re.DOTALL)
    assert len(scripts) == 1
    assert piece.script_sources == (hash_source(scripts[0]), "blob:")
    digest = base64.b64encode(hashlib.sha256(piece.style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in piece.policy
    assert "unsafe" not in piece.policy and "default-src 'none'" in piece.policy
    assert hash_source(scripts[0] + " ") not in piece.policy


def test_a_name_cannot_end_the_element_it_stands_in():
    text = scene_text({"title": HOSTILE})
    assert not set("<>&") & set(text)
    assert viewer_html(made_scene()).body.count("</script>") == viewer_html({}).body.count("</script>")


def test_the_program_is_small_and_always_the_same():
    empty = viewer_html({})
    assert len(empty.body) + len(empty.style) < 800_000
    assert viewer_html(made_scene()) == viewer_html(made_scene())
    assert not re.search(r"https?://(?!www\.w3\.org)", empty.style)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}])
def test_a_scene_without_json_form_is_refused(bad):
    with pytest.raises(OptionError, match="no JSON form"):
        viewer_html({"radius_mm": bad})


def test_a_still_must_be_a_png():
    with pytest.raises(OptionError, match="PNG"):
        viewer_html(made_scene(), still=b"GIF89a")
