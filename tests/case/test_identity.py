"""Whose case it is: keys that name nobody, hashes that hold them, and manifests that state them."""

import re

import pytest
from small_case import manifest, write_case

from needleplan.case.identity import CaseIdentity, bound_hash, difference, identity_of, patient_key
from needleplan.case.load import inspect_case, load_case
from needleplan.case.manifest import read_manifest
from needleplan.errors import CaseError, OptionError

SECRET = bytes(range(32))


def test_a_key_is_an_hmac_that_needs_its_secret() -> None:
    key = patient_key("4711", SECRET)
    # RFC 4231, test case 2: HMAC itself fills a short secret with zeros up to 64 bytes.
    assert patient_key("what do ya want for nothing?", b"Jefe" + bytes(60))[:8] == "5bdcc146"
    assert re.fullmatch(r"[0-9a-f]{32}", key) and patient_key(" 4711 ", SECRET) == key
    assert len({key, patient_key("4712", SECRET), patient_key("4711", SECRET[::-1])}) == 3
    with pytest.raises(OptionError, match="at least 16 bytes"):
        patient_key("4711", b"short")
    with pytest.raises(OptionError, match="not empty"):
        patient_key("  ", SECRET)


def test_an_identity_changes_the_hash_and_none_keeps_it() -> None:
    one, two = identity_of("ab" * 16, "1.2.3"), identity_of("ab" * 16, "1.2.4")
    hashes = {bound_hash("cd" * 32, each) for each in (CaseIdentity(), one, two, identity_of("ac" * 16, "1.2.3"))}
    assert len(hashes) == 4 and bound_hash("cd" * 32, CaseIdentity()) == "cd" * 32
    assert "1.2.3" not in repr(one) and "abab" not in repr(one), "only digests are kept"


def test_what_differs_is_said_and_silence_differs_from_nothing() -> None:
    both = identity_of("ab" * 16, "1.2.3")
    assert difference(both, both) is None
    assert difference(both, identity_of("AB" * 16, "1.2.3")) is None
    assert difference(both, identity_of("ac" * 16, "1.2.3")) == "another patient"
    assert difference(both, identity_of("ab" * 16, "1.2.9")) == "another frame of reference"
    assert difference(CaseIdentity(), both) is None and difference(both, CaseIdentity()) is None


def test_a_manifest_may_state_both_and_the_case_is_bound_to_them(tmp_path) -> None:
    plain = load_case(write_case(tmp_path))
    hashes = {plain.content_hash}
    for words in (f'patient_key = "{"ab" * 16}"', 'frame_of_reference_uid = "1.2.840.1"'):
        head = manifest().splitlines()
        (tmp_path / "case.toml").write_text("\n".join([*head[:4], words, *head[4:]]))
        hashes.add(load_case(tmp_path / "case.toml").content_hash)
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('patient_key = "CANARY^JANE"', "patient_key must be 16 to 128 hexadecimal digits"),
        ('patient_key = "abcd"', "patient_key must be"),
        ("patient_key = 4711", "patient_key"),
        ('frame_of_reference_uid = "1.02.3"', "must be a DICOM UID"),
        (f'frame_of_reference_uid = "1.{"2" * 64}"', "must be a DICOM UID"),
        ('frame_of_reference_uid = "CANARY"', "must be a DICOM UID"),
        ('situs = "mirrored"', "solitus"),
    ],
)
def test_what_is_no_key_is_refused_and_never_repeated(tmp_path, line, words) -> None:
    path = write_case(tmp_path)
    head = path.read_text().splitlines()
    path.write_text("\n".join([*head[:4], line, *head[4:]]))
    with pytest.raises(CaseError, match=words) as refusal:
        read_manifest(path)
    assert "CANARY" not in str(refusal.value) and "\n" not in str(refusal.value)
    assert inspect_case(path).case is None
