"""From the classes of a segmentation to the structures of a case: their roles, and what was left out and why."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from needleplan.app.new_case_names import quoted, visible
from needleplan.app.new_case_organ import (
    NewStructure,
    missing,
    overlaps,
    require_apart,
    with_organ,
    with_whole_body,
)
from needleplan.app.new_case_sources import LabelledClass
from needleplan.case.content_hash import content_hash
from needleplan.case.manifest import EntryTable
from needleplan.case.masks import component, unite
from needleplan.case.model import EntryShape, EntrySubstitute, PatientPosition, Role, Severity, Structure
from needleplan.case.segmentator_classes import KnownClass, class_of, fold, nearest_names
from needleplan.case.sides import Situs, centre_mm, check_centres
from needleplan.errors import CaseError, OptionError
from needleplan.grid import VoxelMask

NO_BODY = (
    "the segmentation holds no body, so nothing says where a needle may enter: segment it "
    "(TotalSegmentator --task body) into the same folder, or state --entry-from and --entry-grow-mm"
)


@dataclass(frozen=True, slots=True)
class NewCaseOptions:
    """What the classes themselves do not say.

    Attributes:
        target: name of the class that is the target; "" where ``target_mask`` is.
        target_rank: takes one piece of that class, 1 for the largest; None takes it whole.
        inside_of: structure that the target lies in; found where it is None.
        roles: role by name of a class, which wins over the known one.
        leave_out: names of classes that do not become structures.
        entry_from: structures about which needles may enter where there is no body.
        entry_grow_mm: distance of that surface from them.
        entry_shape: whether they are taken one by one or their convex hull is.
        position: how the patient lies.
        situs: on which side the unpaired organs lie.
        name: identifier of the case; made from its content where it is "".
    """

    target: str = ""
    target_rank: int | None = None
    inside_of: str | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    leave_out: frozenset[str] = frozenset()
    entry_from: tuple[str, ...] = ()
    entry_grow_mm: float = 30.0
    entry_shape: EntryShape = EntryShape.GROWN
    position: PatientPosition = PatientPosition.SUPINE
    situs: Situs = Situs.SOLITUS
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class NewCase:
    """A case that is to be written.

    Attributes:
        name: its identifier.
        position: how the patient lies.
        situs: on which side the unpaired organs lie.
        structures: its structures, the target first.
        entry: where needles may enter if there is no skin; None where there is one.
        left_out: reason and classes of those that were not used.
        notes: what the writer should know, in sentences.
    """

    name: str
    position: PatientPosition
    situs: Situs
    structures: tuple[NewStructure, ...]
    entry: EntrySubstitute | None
    left_out: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def make_new_case(
    classes: Sequence[LabelledClass], options: NewCaseOptions, target_mask: VoxelMask | None = None
) -> NewCase:
    """Give every class its role and unite those of one structure.

    Args:
        classes: the classes, none of them twice.
        options: the target and whatever the classes do not say.
        target_mask: the target where it comes from a file of its own.

    Raises:
        CaseError: a class is unknown, the target is missing or empty or doubtful, organs lie on the wrong sides, or
            nothing says where a needle may enter.
        OptionError: an option names what is not there.
    """
    require_names(classes, options)
    if (target_mask is None) == (not options.target):
        raise OptionError("the target must be named once: a class of the segmentation, or a label map of its own")
    by_name = {each.name: each for each in classes}
    target, others = _target(by_name, options, target_mask)
    known = _known(classes, options)
    _require_sides(classes, options.situs)
    structures, left_out = _united(classes, known, options)
    structures, notes = with_whole_body(structures, classes, options.leave_out)
    if others is not None:
        structures.append(others)
    require_apart(target, structures)
    structures, said = with_organ(target, structures, known, options.inside_of)
    notes += said
    notes += overlaps(target, structures)
    notes += missing(structures)
    notes += [
        f"The class {quoted(name)} is known by --role alone, so its name goes out as it is written: it must tell "
        "nothing of the patient."
        for name in options.roles
        if class_of(name) is None
    ]
    entry = _entry(structures, options)
    ordered = (target, *sorted(structures, key=lambda s: list(Role).index(s.role)))
    name = options.name or _name(ordered, options.position, entry)
    return NewCase(name, options.position, options.situs, ordered, entry, left_out, tuple(notes))


def require_names(classes: Sequence[LabelledClass], options: NewCaseOptions) -> None:
    """Every name of the options is one of the classes.

    Raises:
        CaseError: there is no class.
        OptionError: an option names what is none.
    """
    names = [each.name for each in classes]
    if not names:
        raise CaseError("the segmentation holds no class")
    wanted = [("--role", name) for name in options.roles]
    wanted += [("--target", options.target)] if options.target else []
    wanted += [("--leave-out", name) for name in sorted(options.leave_out)]
    for option, name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, 3, 0.4)
            listed = ", ".join(map(visible, near or sorted(names)[:12]))
            raise OptionError(
                f"{option}: there is no class {quoted(name)} among the {len(names)} of the segmentation"
                f"{'; spelt like it are ' if near else ', the first of which are '}{listed}"
            )


def _known(classes: Sequence[LabelledClass], options: NewCaseOptions) -> dict[str, KnownClass]:
    """What each class that is not the target means, by its name."""
    found: dict[str, KnownClass] = {}
    unknown = []
    for each in classes:
        if each.name == options.target:
            continue
        known = class_of(each.name)
        if each.name in options.roles:
            found[each.name] = KnownClass(each.name, fold(each.name), options.roles[each.name])
        elif known is not None:
            found[each.name] = known
        elif each.name not in options.leave_out and each.mask is not None:
            near = nearest_names(each.name)
            unknown.append(quoted(each.name) + (f" (spelt like {' and '.join(near)})" if near else ""))
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise CaseError(
            f"nobody has said what these classes mean to a needle: {', '.join(unknown[:8])}{more}; state it by "
            "--role NAME=ROLE, or leave them out by --leave-out NAME"
        )
    return found


def _target(
    by_name: Mapping[str, LabelledClass], options: NewCaseOptions, target_mask: VoxelMask | None
) -> tuple[NewStructure, NewStructure | None]:
    """The target, and the pieces of its class that are not it."""
    classes: tuple[str, ...] = ()
    if target_mask is not None:
        whole, name = target_mask, "tumour"
    else:
        found = by_name[options.target].mask
        if found is None:
            raise CaseError(f"the class {quoted(options.target)}, which shall be the target, is empty")
        whole, name, classes = found, fold(options.target), (options.target,)
    if options.target_rank is None:
        return NewStructure(name, Role.TARGET, whole, classes), None
    part = component(whole, options.target_rank, None)
    start = np.rint(whole.grid.to_index(part.grid.to_patient((0, 0, 0)))).astype(int)
    rest = whole.inside.copy()
    rest[tuple(slice(a, a + n) for a, n in zip(start, part.inside.shape, strict=True))] &= ~part.inside
    others = None
    if rest.any():
        others = NewStructure(f"{name}_others", Role.NO_GO, VoxelMask(whole.grid, rest, whole.cut_sides), classes)
    return NewStructure(name, Role.TARGET, part, classes), others


def _require_sides(classes: Sequence[LabelledClass], situs: Situs) -> None:
    findings = check_centres({each.name: centre_mm(each.mask) for each in classes if each.mask is not None}, situs)
    for finding in findings:
        if finding.severity is Severity.REFUSED:
            raise CaseError(f"{finding.message}; {finding.remedy}")


def _united(
    classes: Sequence[LabelledClass], known: Mapping[str, KnownClass], options: NewCaseOptions
) -> tuple[list[NewStructure], dict[str, tuple[str, ...]]]:
    """Structures by their classes, and by the reason the classes that become none."""
    parts: dict[str, list[LabelledClass]] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for each in classes:
        if each.name == options.target:
            continue
        reason = ""
        if each.name in options.leave_out:
            reason = "as was asked"
        elif each.mask is None:
            reason = "empty, as the image does not show it"
        elif not known[each.name].structure:
            reason = known[each.name].reason
        else:
            parts.setdefault(known[each.name].structure, []).append(each)
        if reason:
            left_out[reason] = (*left_out.get(reason, ()), each.name)
    structures = []
    for name, members in parts.items():
        roles = {known[member.name].role for member in members}
        if len(roles) > 1:
            raise OptionError(f"--role gives {name} several roles: {', '.join(sorted(roles))}")
        masks = [member.mask for member in members if member.mask is not None]
        structures.append(NewStructure(name, roles.pop(), unite(masks), tuple(member.name for member in members)))
    return structures, left_out


def _entry(structures: Sequence[NewStructure], options: NewCaseOptions) -> EntrySubstitute | None:
    """Where needles may enter; None where the body is there."""
    names = [structure.name for structure in structures]
    if any(structure.role is Role.SKIN for structure in structures):
        if options.entry_from:
            raise OptionError("--entry-from is for a segmentation without a body: leave it out, or the body")
        return None
    if not options.entry_from:
        raise CaseError(NO_BODY)
    absent = [name for name in options.entry_from if name not in names]
    if absent:
        raise OptionError(
            f"--entry-from: there is no structure {quoted(absent[0])}; there are {', '.join(sorted(names))}"
        )
    table = EntryTable(shape=options.entry_shape, structures=options.entry_from, grow_mm=options.entry_grow_mm)
    return EntrySubstitute(table.shape, table.structures, table.grow_mm)


def _name(structures: Sequence[NewStructure], position: PatientPosition, entry: EntrySubstitute | None) -> str:
    """A name that comes from the content alone, as the names of files and folders may be a patient's."""
    plain = [Structure(s.name, s.role, s.mask) for s in structures]
    return f"case-{content_hash('', position, plain, entry)[:12]}"
