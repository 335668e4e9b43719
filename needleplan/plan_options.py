"""What a plan was made with, read back from its provenance."""

import dataclasses
import typing
from typing import Any, TypeVar

from needleplan.errors import OptionError, PlanFileError
from needleplan.io.value_json import from_json
from needleplan.plan import Plan

Options = TypeVar("Options")


def options_of(kind: type[Options], prefix: str, plan: Plan) -> Options:
    """Options as a plan's provenance names them; what it does not name has its default.

    Args:
        kind: dataclass of the options, whose annotations say which type each of them has.
        prefix: what their names begin with in the provenance, such as ``coverage``.
        plan: the plan.

    Raises:
        OptionError: one is of another type, or impossible.
    """
    given: dict[str, Any] = {}
    types = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        name = f"{prefix}.{field.name}"
        if name in plan.provenance.options:
            try:
                given[field.name] = from_json(
                    types[field.name], plan.provenance.options[name], f"the plan's option {name}"
                )
            except PlanFileError as error:
                raise OptionError(str(error)) from error
    try:
        return kind(**given)
    except OptionError as error:
        raise OptionError(f"the plan's options of {prefix}: {error}") from error
