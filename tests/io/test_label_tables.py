"""Names of labels in NIfTI headers and JSON files: as written by other programs, damaged, and hostile."""

import json
import struct
import time
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_segmentations import label_table

from needleplan.errors import CaseError, NeedleplanError
from needleplan.io.label_tables import MAXIMUM_TABLE_BYTES, json_label_names, nifti_label_names

NAMES = {1: "spleen", 5: "liver", 64: "portal_vein_and_splenic_vein", 117: "costal_cartilages"}


def volume(path: Path, *contents: bytes, kind=nibabel.Nifti1Image) -> Path:
    image = kind(np.zeros((3, 4, 5), np.uint8), np.diag([2.0, 3.0, 4.0, 1.0]))
    for code, content in enumerate(contents):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(2 * code, content))
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_the_table_is_found_among_other_extensions(tmp_path, ending, kind) -> None:
    path = volume(tmp_path / f"a.{ending}", b"a remark", label_table(NAMES), b"\x08\x00 and bytes", kind=kind)
    assert nifti_label_names(path) == NAMES
    assert nifti_label_names(volume(tmp_path / f"b.{ending}", b"a remark", kind=kind)) == {}
    assert nifti_label_names(volume(tmp_path / f"c.{ending}", kind=kind)) == {}


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY b%d "%s">' % (k, (b"&a;" if k == 0 else b"&b%d;" % (k - 1)) * 10) for k in range(12))
    + b'<CaretExtension><LabelTable><Label Key="1">&b11;</Label></LabelTable></CaretExtension>'
)
OUTSIDE = (
    b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b'<CaretExtension><Label Key="1">&a;</Label></CaretExtension>'
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB, "entities"),
        (OUTSIDE, "entities"),
        (b"<CaretExtension><Label", "not XML"),
        (b"<CaretExtension>" * 3, "not XML"),
        (label_table({1: "a", 2: "a"}), "to two numbers"),
        (label_table(NAMES).replace(b'Key="5"', b'Key="1"'), "the number 1 twice"),
        (label_table(NAMES).replace(b'Key="5"', b'Key="-5"'), "one whole number"),
        (label_table(NAMES).replace(b'Key="5"', b'Key="5.5"'), "one whole number"),
        (label_table(NAMES).replace(b'Key="5"', b'Key="99999999999"'), "one whole number"),
        (label_table({1: "x" * 81}), "printable characters"),
        (label_table({1: " "}), "printable characters"),
        (label_table({1: "a\nb"}), "printable characters"),
        (label_table({k: f"n{k}" for k in range(1, 5003)}), "more than the limit"),
    ],
)
def test_hostile_tables_are_refused_at_once(tmp_path, content, words) -> None:
    path = volume(tmp_path / "a.nii.gz", content)
    tracemalloc.start()
    begun = time.thread_time()
    with pytest.raises(CaseError, match=words) as refusal:
        nifti_label_names(path)
    assert time.thread_time() - begun < 1.0 and "\n" not in str(refusal.value)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_two_tables_and_impossible_sizes_are_refused(tmp_path) -> None:
    with pytest.raises(CaseError, match="2 tables"):
        nifti_label_names(volume(tmp_path / "a.nii", label_table(NAMES), label_table(NAMES)))
    data = bytearray(volume(tmp_path / "b.nii", label_table(NAMES)).read_bytes())
    broken_words = [(108, struct.pack("<f", value)) for value in (1e9, float("nan"))]
    broken_words += [(352, struct.pack("<i", value)) for value in (2**31 - 1, -8, 3)]
    for place, value in broken_words:
        broken = bytearray(data)
        broken[place : place + 4] = value
        (tmp_path / "c.nii").write_bytes(broken)
        with pytest.raises(CaseError, match=r"declares"):
            nifti_label_names(tmp_path / "c.nii")
    (tmp_path / "d.nii").write_bytes(data[:400])
    with pytest.raises(CaseError, match="truncated"):
        nifti_label_names(tmp_path / "d.nii")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_mutated_headers_raise_named_errors_only(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    valid = volume(folder / "a.nii", label_table(NAMES)).read_bytes()
    start = data.draw(st.integers(0, len(valid) - 1))
    new = data.draw(st.binary(max_size=24))
    mutated = valid[:start] + new + valid[start + len(new) :]
    (folder / "b.nii").write_bytes(mutated[: data.draw(st.integers(1, len(mutated)))])
    try:
        assert set(nifti_label_names(folder / "b.nii").values()).issubset(set(NAMES.values())) or start > 300
    except NeedleplanError:
        pass


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["labels", "0", "1", "network_data_format", "outputs", "channel_def"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_json_of_any_shape_raises_named_errors_only(tmp_path_factory, content) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "labels.json"
    path.write_bytes(content)
    try:
        names = json_label_names(path)
    except NeedleplanError:
        return
    assert all(type(key) is int and key > 0 and isinstance(name, str) and name for key, name in names.items())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"labels": {"1": "liver", "1": "spleen"}}', "occurs twice"),
        ('{"labels": {"1": "liver", "2": "liver"}}', "to two numbers"),
        ('{"labels": {"liver": 1, "spleen": 1}}', "the number 1 twice"),
        ('{"labels": {"liver": [1, 2]}}', "one whole number"),
        ('{"labels": {"1": 7}}', "printable characters"),
        ('{"labels": {"liver": NaN}}', "NaN"),
        ('{"labels": {"1": "a\\u0000b"}}', "printable characters"),
        ('{"labels": []}', "there are 0"),
        ("[1]", "there are 0"),
        ("[" * 100_000, "nested too deeply|not JSON"),
        (" " * (MAXIMUM_TABLE_BYTES + 1), "more than the limit"),
    ],
)
def test_hostile_json_is_refused(tmp_path, text, words) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(CaseError, match=words):
        json_label_names(path)
