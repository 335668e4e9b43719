"""What is not held against a needle, as the screened plan itself leads it through."""

from collections.abc import Sequence

from needleplan.navigation.structure_watch import StructureWatch
from needleplan.plan import Insertion


class LeftOut:
    """Structures that are not held against a needle as the plan itself, which was screened, leads it through them.

    What is planned again never widens that: a needle that stands in a vessel by mistake passes it in the new plan,
    which measures it there, and is told all the same.

    Args:
        structures: distances to all structures.
        planned: insertions of the plan with which the session begins.
    """

    def __init__(self, structures: StructureWatch, planned: Sequence[Insertion]) -> None:
        self._structures = structures
        self._screened = {one.order: structures.passed_by(one) for one in planned}
        self._common = frozenset.intersection(*self._screened.values()) if planned else frozenset()
        self._left_out, self._told = dict(self._screened), dict.fromkeys(self._screened, frozenset[str]())

    def replace(self, planned: Sequence[Insertion]) -> None:
        """Other insertions are carried out: each leaves out what its path passes as the plan's own did.

        The path of a new needle is held against what all paths of the plan pass.
        """
        passed = {one.order: self._structures.passed_by(one) for one in planned}
        allowed = {order: self._screened.get(order, self._common) for order in passed}
        self._left_out = {order: passed[order] & allowed[order] for order in passed}
        self._told = {order: passed[order] - allowed[order] for order in passed}

    def of(self, order: int) -> frozenset[str]:
        """Names of what is left out for the needle of an order."""
        return self._left_out[order]

    @property
    def statements(self) -> list[str]:
        """What is left out, and what is not though a path passes it, in sentences."""
        said = []
        for order in sorted(self._left_out):
            if self._left_out[order]:
                said.append(
                    f"The planned path of needle {order} itself passes {', '.join(sorted(self._left_out[order]))}: "
                    "distances to that are not held against it."
                )
            if self._told[order]:
                said.append(
                    f"The new path of needle {order} passes {', '.join(sorted(self._told[order]))}, as its plan "
                    "did not: there it is told to stop."
                )
        return said
