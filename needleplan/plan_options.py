"""What a plan was made with, read back from its provenance."""

import dataclasses
from typing import Any, TypeVar

from needleplan.plan import Plan

Options = TypeVar("Options")


def options_of(kind: type[Options], prefix: str, plan: Plan) -> Options:
    """Options as a plan's provenance names them; what it does not name has its default.

    Raises:
        OptionError: one is impossible.
    """
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        name = f"{prefix}.{field.name}"
        if name in plan.provenance.options:
            given[field.name] = plan.provenance.options[name]
    return kind(**given)
