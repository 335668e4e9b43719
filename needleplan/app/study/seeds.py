"""Seeds of a study's random draws."""

import hashlib

from needleplan.app.study.study import StudyCase


def case_seed(study_seed: int, case: StudyCase) -> int:
    """Seed of a case, the same in all its cells: devices and strategies are compared under the same draws.

    It does not depend on the other cases, nor on the order of the work.
    """
    text = f"{study_seed}|{case.name}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
