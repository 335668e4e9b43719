"""The schema of study.toml. Pydantic is used at this door only; behind it stand the values of ``Study``."""

import dataclasses
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from needleplan.anatomy.phantom_population import PhantomPopulation
from needleplan.case.strict_tables import Name, StrictTable, require_plain, shown
from needleplan.motion.lujan import MAXIMUM_AMPLITUDE_MM

#: Greatest seed of a study or a phantom.
LARGEST_SEED = 2**53 - 1

#: Most cases of a study, and most phantoms of one [[cases]] table.
MAXIMUM_CASES = 200_000


_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_LABEL_WORDS = "must be 1 to 40 letters, digits, points, hyphens and underscores, and begin with a letter or digit"


def _require_label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise PydanticCustomError("label", f"it {_LABEL_WORDS}")
    return text


def _require_one(value: object) -> object:
    if type(value) is not int or value != 1:
        raise PydanticCustomError("version", "it must be 1")
    return value


PathText = Annotated[str, Field(max_length=1000), AfterValidator(require_plain)]
Label = Annotated[str, AfterValidator(_require_label)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


def _table_of(kind: type) -> Any:
    """A table with the keys and types of a dataclass, each of which may be left out."""
    keys = {
        item.name: (_table_of(item.type) if isinstance(item.type, type) and dataclasses.is_dataclass(item.type)
                    else item.type, None)
        for item in dataclasses.fields(kind)
    }  # fmt: skip
    return create_model(f"{kind.__name__}Table", __base__=StrictTable, **keys)  # type: ignore[call-overload]


PopulationTable = create_model(
    "PopulationTable",
    __base__=_table_of(PhantomPopulation),
    voxel_mm=(Annotated[float, Field(ge=0.3, le=10.0)], 2.0),
)


class CasesTable(StrictTable):
    """One table of ``[[cases]]``: patients in files, or phantoms.

    Attributes:
        name: begins the names of its cases.
        manifests: files, folders and globs, relative to the study file.
        data: data folder of these manifests.
        phantoms: number of phantoms.
        first_seed: of the first of them; the others follow one by one.
        population: what they are drawn from.
    """

    name: Label | None = None
    manifests: Annotated[tuple[PathText, ...], Field(max_length=10_000)] = ()
    data: PathText | None = None
    phantoms: Annotated[int, Field(ge=1, le=MAXIMUM_CASES)] | None = None
    first_seed: Seed | None = None
    population: PopulationTable | None = None  # type: ignore[valid-type]

    @field_validator("manifests", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.manifests) == (self.phantoms is not None):
            raise ValueError("give either manifests, or phantoms with their number")
        if self.phantoms is None and (self.first_seed is not None or self.population is not None):
            raise ValueError("first_seed and population are for phantoms, not for manifests")
        if self.phantoms is not None and self.data is not None:
            raise ValueError("data is for manifests, not for phantoms")
        return self


class FactorsTable(StrictTable):
    """Values of factors, one or a list each; ``needleplan.app.study.factors`` says what they may be."""

    device: tuple[Any, ...] | None = None
    power_w: tuple[Any, ...] | None = None
    margin_mm: tuple[Any, ...] | None = None
    probes: tuple[Any, ...] | None = None
    strategy: tuple[Any, ...] | None = None
    robot: tuple[Any, ...] | None = None
    error_budget: tuple[Any, ...] | None = None
    breathing: tuple[Any, ...] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else (value,)

    @field_validator("*")
    @classmethod
    def _some(cls, value: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        if not 1 <= len(value) <= 1000:
            raise ValueError(f"{info.field_name} takes 1 to 1000 values, not {len(value)}")
        return value


class BreathingTable(StrictTable):
    """One way to breathe, see ``needleplan.app.study.study.Breathing``."""

    peak_mm: Annotated[float, Field(ge=0, le=MAXIMUM_AMPLITUDE_MM)] | None = None
    period_s: Annotated[float, Field(ge=1, le=30)] | None = None
    irregular: bool | None = None


class PlanningTable(StrictTable):
    """How hard plans are sought, see ``needleplan.app.study.study.Effort``."""

    entry_spacing_mm: Annotated[float, Field(ge=1, le=200)] | None = None
    aims: Annotated[int, Field(ge=1, le=5000)] | None = None
    search_paths: Annotated[int, Field(ge=0, le=50_000_000)] | None = None
    paths_per_aim: Annotated[int, Field(ge=1, le=10_000)] | None = None
    points: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    refine: bool | None = None
    scenarios: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    runs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    most_nodes: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    time_limit_s: Annotated[float, Field(gt=0, le=86_400)] | None = None


class DevicesTable(StrictTable):
    """The user's own applicators.

    Attributes:
        applicators_csv: relative to the study file; so is the next.
        zones_csv: their zones.
    """

    applicators_csv: PathText
    zones_csv: PathText


class OutputsTable(StrictTable):
    """What is written, see ``needleplan.app.study.study.Outputs``."""

    plans: bool | None = None
    analysis: bool | None = None
    report: bool | None = None


class StudyTables(StrictTable):
    """A whole study file; each part is told of in its own table."""

    schema_name: Literal["needleplan.study"] = Field(alias="schema")
    version: Annotated[Literal[1], BeforeValidator(_require_one)]
    name: Name
    seed: Seed = 0
    cases: Annotated[tuple[CasesTable, ...], Field(min_length=1, max_length=1000)]
    devices: DevicesTable | None = None
    factors: FactorsTable = FactorsTable()
    breathing: dict[str, BreathingTable] = Field(default_factory=dict)
    planning: PlanningTable = PlanningTable()
    outputs: OutputsTable = OutputsTable()
    leave_out: Annotated[tuple[FactorsTable, ...], Field(max_length=1000)] = ()

    @field_validator("breathing")
    @classmethod
    def _named(cls, value: dict[str, BreathingTable]) -> dict[str, BreathingTable]:
        for name in value:
            if not _LABEL.fullmatch(name):
                raise ValueError(f"[breathing]: a table is called {shown(name)}; its name {_LABEL_WORDS}")
        return value


#: Schema of the tables under a key, for messages.
INNER_TABLES: dict[str, type[StrictTable]] = {
    "cases": CasesTable,
    "population": PopulationTable,
    "shapes": _table_of(PhantomPopulation).model_fields["shapes"].annotation,
    "devices": DevicesTable,
    "factors": FactorsTable,
    "breathing": BreathingTable,
    "planning": PlanningTable,
    "outputs": OutputsTable,
    "leave_out": FactorsTable,
}
