"""Whose case it is, without saying who: a key of the patient, and the frame of reference of the images.

A plan is bound to the content of its case by the content hash. Two patients never share it, but the hash alone
cannot say that the patient is another one. Where the manifest states ``patient_key`` or
``frame_of_reference_uid``, they enter the hash, and a refusal says which of them differs. Only digests of them are
kept beside a plan.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass

from needleplan.errors import OptionError

#: A secret of fewer bytes than this can be guessed, and with it the identifiers behind the keys.
LEAST_SECRET_BYTES = 16


@dataclass(frozen=True, slots=True)
class CaseIdentity:
    """Digests that tell two patients, or two frames of reference, apart.

    Attributes:
        patient: digest of the patient's key; None where the case states none.
        frame_of_reference: digest of the DICOM Frame of Reference UID; None where the case states none.
    """

    patient: str | None = None
    frame_of_reference: str | None = None


def patient_key(identifier: str, secret: bytes) -> str:
    """A pseudonym of a patient for ``patient_key`` of a manifest: HMAC-SHA256 (RFC 2104), 32 hexadecimal digits.

    The same identifier and secret give the same key; without the secret neither leads to the other.

    Args:
        identifier: what identifies the patient where the secret is kept, for instance the hospital's number.
        secret: at least 16 random bytes that never leave that place.

    Raises:
        OptionError: the identifier is empty or the secret too short.
    """
    if not identifier.strip():
        raise OptionError("a patient's key needs an identifier that is not empty")
    if len(secret) < LEAST_SECRET_BYTES:
        raise OptionError(
            f"a patient's key needs a secret of at least {LEAST_SECRET_BYTES} bytes, not {len(secret)}: with a "
            "short one the identifier can be found by trying"
        )
    return hmac.new(secret, identifier.strip().encode(), hashlib.sha256).hexdigest()[:32]


def identity_of(key: str | None, frame_of_reference_uid: str | None) -> CaseIdentity:
    """The identity that a manifest states; digests, since a UID in clear text links to the images it came with."""
    return CaseIdentity(_digest("patient", key), _digest("frame of reference", frame_of_reference_uid))


def bound_hash(content_hash: str, identity: CaseIdentity) -> str:
    """The content hash with the identity in it; the same hash where the case states none."""
    if identity == CaseIdentity():
        return content_hash
    meaning = ["needleplan.case identity 1", content_hash, identity.patient, identity.frame_of_reference]
    return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()


def difference(planned: CaseIdentity, now: CaseIdentity) -> str | None:
    """What a plan and the case at hand do not share, in words; None where nothing tells them apart."""
    if None not in (planned.patient, now.patient) and planned.patient != now.patient:
        return "another patient"
    frames = (planned.frame_of_reference, now.frame_of_reference)
    if None not in frames and frames[0] != frames[1]:
        return "another frame of reference"
    return None


def _digest(kind: str, text: str | None) -> str | None:
    if text is None:
        return None
    return hashlib.sha256(json.dumps(["needleplan.identity 1", kind, text.lower()]).encode()).hexdigest()[:32]
