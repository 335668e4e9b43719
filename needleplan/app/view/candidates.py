"""Candidate paths that needles can snap to, looked for in a thread while the page is used already."""

from collections.abc import Callable

from needleplan.app.pipeline import PlannedCase
from needleplan.app.view.demands import PlanDemands
from needleplan.app.view.newest_worker import NewestWorker
from needleplan.errors import NavigationError
from needleplan.trajectory.sampling import sample_trajectories
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable


class CandidatePaths:
    """Screened paths of each applicator of a plan.

    Args:
        planned: the plan.
        demands: what it demanded.
        tell: called, from the thread, when there is more to say.

    Attributes:
        said: how the search stands, a sentence.
    """

    def __init__(self, planned: PlannedCase, demands: PlanDemands, tell: Callable[[], None]) -> None:
        self._planned, self._demands, self._tell = planned, demands, tell
        self._tables: dict[str, TrajectoryTable] = {}
        self.said = "Candidate paths are being looked for; snapping waits for them."
        self._search = NewestWorker(self._find, "needleplan-candidates")

    @property
    def ready(self) -> bool:
        """True where paths of any applicator are known."""
        return bool(self._tables)

    def start(self) -> None:
        """Look for them."""
        self._search.submit(None)

    def close(self) -> None:
        """End the thread after what it is doing."""
        self._search.close()

    def of(self, applicator: str) -> TrajectoryTable:
        """Those of an applicator; raises NavigationError where they are not known."""
        if applicator not in self._tables:
            raise NavigationError(self.said)
        return self._tables[applicator]

    def _find(self, _: None) -> None:
        queries = self._planned.queries
        try:
            for name in sorted({one.applicator for one in self._planned.plan.insertions}):
                applicator = self._planned.zone_model.catalogue.applicator(name)
                paths = sample_trajectories(queries, applicator, self._demands.sampling)
                self._tables[name] = screen(paths, queries, self._demands.constraints)
            count = sum(int(table.feasible.sum()) for table in self._tables.values())
            said = f"{count} feasible candidate paths are known to snap to."
        except Exception as error:
            said = f"Candidate paths cannot be found, so nothing can be snapped to: {error}"
        self.said = said
        self._tell()
