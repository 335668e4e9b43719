"""What every plan of a case says, whatever came of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from needleplan import __version__
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Severity
from needleplan.coverage.cover import Covering
from needleplan.plan import Evidence, Insertion, Likelihood, Metrics, PhysicsVerdict, Plan, PlanStatus, Provenance
from needleplan.plan_evidence import coverage_proof
from needleplan.trajectory.table import TrajectoryTable


@dataclass(frozen=True, slots=True, eq=False)
class PlanDraft:
    """A plan but for what came of the search.

    Attributes:
        queries: the anatomy.
        options: every option by its full name, ``applicator`` among them.
        seed: of every random draw.
        zone_model: predicts the zones.
        table: all paths that were looked at.
        timings_s: times of the stages so far, by name; read when the plan is finished.
    """

    queries: AnatomyQueries
    options: Mapping[str, float | int | str | bool | None]
    seed: int
    zone_model: EllipsoidTableModel
    table: TrajectoryTable
    timings_s: Mapping[str, float]

    def infeasible(self, evidence: tuple[Evidence, ...]) -> Plan:
        """A plan without insertions, and why."""
        return self.finished(PlanStatus.INFEASIBLE, evidence, (), None, None, "", None, ())

    def finished(
        self,
        status: PlanStatus,
        evidence: tuple[Evidence, ...],
        insertions: tuple[Insertion, ...],
        metrics: Metrics | None,
        covering: Covering | None,
        certificate: str,
        physics: PhysicsVerdict | None,
        chances: tuple[Likelihood, ...],
    ) -> Plan:
        """The plan."""
        case, table = self.queries.anatomy.case, self.table
        notes = list(self.zone_model.notes_for(str(self.options["applicator"])))
        if case.entry_substitute is not None:
            notes.insert(0, case.entry_substitute.note)
        notes += [
            finding.message for finding in case.findings if finding.severity in (Severity.MENDED, Severity.WARNING)
        ]
        proof = None
        if covering is not None:
            proof = coverage_proof(covering, len(insertions), certificate, status is PlanStatus.COMPLETE)
        return Plan(
            case_name=case.name,
            case_hash=case.content_hash,
            status=status,
            evidence=evidence,
            insertions=insertions,
            metrics=metrics,
            rejected=table.rejected_by(),
            candidate_count=len(table),
            feasible_count=int(table.feasible.sum()),
            proof=proof,
            provenance=Provenance(
                __version__,
                {**self.options, "tables": self.zone_model.catalogue.digest},
                self.seed,
                dict(self.timings_s),
                tuple(notes),
            ),
            physics=physics,
            likelihoods=chances,
        )
