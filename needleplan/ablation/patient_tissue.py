"""The tissue map of a patient: which tissue of the table each structure of a case is."""

from collections.abc import Mapping

from needleplan.ablation.tissue_map import Region, TissueMap, Vessel
from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role
from needleplan.devices.tissue import Tissue
from needleplan.devices.tissues import TissueTable, builtin_tissues
from needleplan.errors import DeviceError

#: Tissue that fills the body between the structures.
BETWEEN = "muscle"
#: Tissue of structures whose role says it; lungs of a breathing patient are inflated.
_BY_ROLE = {Role.BONE: "bone_cancellous", Role.LUNG: "lung_inflated", Role.BOWEL: "bowel"}
#: Parts of names that say the tissue of an organ, the first that fits.
_BY_NAME = ("liver", "kidney", "spleen", "pancreas", "prostate", "stomach")
_TABLE_NAMES = {"stomach": "stomach_wall"}
#: Roles that are places and no tissue.
_PLACES = frozenset({Role.SKIN, Role.ENTRY_REGION, Role.NO_GO})


def patient_tissue(
    queries: AnatomyQueries,
    tumour: str,
    named: Mapping[str, str] | None = None,
    table: TissueTable | None = None,
) -> TissueMap:
    """Tissues and vessels of a patient.

    Structures lie over one another in the order organs, lungs, bones and bowel, critical structures, target;
    structures of the role vessel are open vessels, with the diameter that a ball finds in them. Airways and
    critical structures whose name says no tissue stay what lies about them, unless ``named`` says otherwise.

    Args:
        queries: the anatomy.
        tumour: tissue of the target and of other tumours (role ``allowed`` with "tumour" in the name), for instance
            HCC or CRLM.
        named: tissue by structure name, over all defaults; ``thrombosed`` for a vessel without flow.
        table: of tissues; the built-in one by default.

    Raises:
        DeviceError: a tissue is unknown, a name in ``named`` is no structure, or an organ's name says no tissue and
            ``named`` does not either.
    """
    tissues = table or builtin_tissues()
    told = dict(named or {})
    surfaces = queries.anatomy.surfaces
    strangers = sorted(set(told) - {surface.name for surface in surfaces})
    if strangers:
        raise DeviceError(
            f"no structure is named {strangers[0]!r}: there are {', '.join(surface.name for surface in surfaces)}"
        )
    order = (Role.ORGAN, Role.LUNG, Role.BONE, Role.BOWEL, Role.AIRWAY, Role.CRITICAL, Role.ALLOWED, Role.TARGET)
    regions = []
    for role in order:
        for surface in surfaces:
            if surface.role is role and role not in _PLACES:
                tissue = _tissue(surface, tumour, told, tissues)
                if tissue is not None:
                    regions.append(Region(tissue, queries.tree(surface)))
    vessels = tuple(
        Vessel(surface.name, queries.tree(surface), open=told.get(surface.name) != "thrombosed")
        for surface in surfaces
        if surface.role is Role.VESSEL
    )
    return TissueMap(tissues.tissue(BETWEEN), tuple(regions), vessels)


def _tissue(surface: StructureSurface, tumour: str, told: Mapping[str, str], tissues: TissueTable) -> Tissue | None:
    if surface.name in told:
        return tissues.tissue(told[surface.name])
    if surface.role is Role.TARGET or (surface.role is Role.ALLOWED and "tumo" in surface.name.lower()):
        return tissues.tissue(tumour)
    if surface.role in _BY_ROLE:
        return tissues.tissue(_BY_ROLE[surface.role])
    for part in _BY_NAME:
        if part in surface.name.lower():
            return tissues.tissue(_TABLE_NAMES.get(part, part))
    if surface.role is Role.ORGAN:
        raise DeviceError(
            f"nothing says which tissue the organ {surface.name!r} is: name one of {', '.join(tissues.names)}"
        )
    return None
