"""Needle paths decided, measured and ranked, beside other engines whose wrong answers are counted.

    python benchmarks/trajectories.py --json rows.json [--repeats 5] [--data DIR] [--quick]

The question: does a needle with its width keep 2 mm from ribs and vessels and 5 mm from lung and colon? It is
asked of 100 000 candidates in the scene of benchmarks/path_scene.py, five meshes of 20 000 faces, and every answer
is held against brute force over all pairs of candidate and face. Clearances are capped at 10 mm from the needle's
surface. Each repeat asks all engines one after the other; slow ones are asked every so many candidates. The table
shows median and best, the file holds the median. Compilation is done before, and its time is a row of its own.

The real liver of examples/cases/ircadb01-case01.toml is ranked where --data or NEEDLEPLAN_DATA names the data; one
path is then edited there, else in the built-in patient.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import brute_force
import numpy as np
from clock import Clock, print_rows, print_times
from numpy.typing import NDArray
from path_liver import DraggedPath, phantom_queries, ranking_task, real_queries, wrong_clearances
from path_peers import Peer, make_peers
from path_scene import PathScene, make_scene
from rows import Row, write_rows

from needleplan.anatomy.forest import MeshForest
from needleplan.frames import FloatArray

DECISIONS_LIMIT, CLEARANCES_LIMIT = 400_000.0, 150_000.0
SETUP_LIMIT_S, LIVER_LIMIT_S, EDITOR_LIMIT_MS = 1.0, 1.5, 5.0
LIMIT = "limit set by this project"
#: From the needle's surface.
CAP_MM = 10.0
#: A clearance below the cap is right within this, and never greater than the true one.
CLEARANCE_ERROR_MM = 0.1
#: Engines that iterate stop within some 1e-5 mm.
ROUNDING_MM = 1e-4
#: Moves of the edited path in one repeat.
MOVES = 40


class SceneTimes:
    """The scene, its true distances, and all engines' times and wrong answers."""

    def __init__(self, scene: PathScene) -> None:
        self.scene = scene
        self.clock = Clock("scene")
        self.wrong: dict[str, int] = {}
        self.wrong_clearances: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.cap_mm = CAP_MM + scene.radius_mm
        start = time.perf_counter()
        few = slice(0, 50)
        forest = MeshForest(scene.meshes)
        forest.distances_mm(scene.entry_mm[few], scene.tip_mm[few], self.cap_mm)
        forest.keeps_distance(scene.entry_mm[few], scene.tip_mm[few], scene.demanded_mm)
        # Large tables may take another way than small ones.
        forest.distances_mm(scene.entry_mm, scene.tip_mm, self.cap_mm)
        forest.keeps_distance(scene.entry_mm, scene.tip_mm, scene.demanded_mm)
        self.first_s = time.perf_counter() - start
        self.truth_mm = self.clock(
            "brute force, all pairs",
            lambda: brute_force.distances_mm(list(scene.meshes), scene.entry_mm, scene.tip_mm, self.cap_mm),
            len(scene.entry_mm),
        )
        self.peers, self.missing = make_peers(scene, CAP_MM)

    def repeat(self) -> None:
        """Ask every engine once."""
        scene, entry, tip = self.scene, self.scene.entry_mm, self.scene.tip_mm
        forest = self.clock("needleplan set-up", lambda: MeshForest(scene.meshes))
        clear = self.clock(
            "needleplan decisions", lambda: forest.keeps_distance(entry, tip, scene.demanded_mm), len(entry)
        )
        axis = self.clock("needleplan clearances", lambda: forest.distances_mm(entry, tip, self.cap_mm), len(entry))
        self.asked["needleplan"] = len(entry)
        self._count("needleplan", clear, axis - scene.radius_mm, slice(None))
        for peer in self.peers:
            self._ask(peer)

    def _ask(self, peer: Peer) -> None:
        rows = slice(None, None, peer.every)
        entry, tip = self.scene.entry_mm[rows], self.scene.tip_mm[rows]
        self.asked[peer.name] = len(entry)
        clear = found = None
        if peer.keeps_clear is not None:
            keeps_clear = peer.keeps_clear
            clear = self.clock(f"{peer.name} decisions", lambda: keeps_clear(entry, tip), len(entry))
        if peer.clearance_mm is not None:
            clearance = peer.clearance_mm
            found = self.clock(f"{peer.name} clearances", lambda: clearance(entry, tip), len(entry))
        self._count(peer.name, clear, found, rows)

    def _count(
        self, name: str, clear: NDArray[np.bool_] | None, clearance_mm: FloatArray | None, rows: slice
    ) -> None:
        """Keep the greatest number of wrong answers of all repeats."""
        truth = self.truth_mm[rows]
        if clear is not None:
            wrong = brute_force.wrong_answers(clear, truth, self.scene.demanded_mm)
            self.wrong[name] = max(wrong, self.wrong.get(name, 0))
        if clearance_mm is not None:
            wrong = self._wrong_clearances(clearance_mm, truth)
            self.wrong_clearances[name] = max(wrong, self.wrong_clearances.get(name, 0))

    def _wrong_clearances(self, found_mm: FloatArray, axis_mm: FloatArray) -> int:
        """Candidates with a clearance that is over-stated, or too small by more than the error allowed.

        A needle that touches has no clearance; how deep it lies is not asked.
        """
        truth = np.clip(axis_mm - self.scene.radius_mm, 0.0, CAP_MM)
        off = np.clip(found_mm, 0.0, CAP_MM) - truth
        return int(((off > ROUNDING_MM) | (off < -CLEARANCE_ERROR_MM)).any(axis=1).sum())

    def rows(self) -> list[Row]:
        """Ours against the limits, then each peer's rate and wrong answers."""
        clock, said = self.clock, {peer.name: peer.said for peer in self.peers}
        decisions, clearances = clock.rate("needleplan decisions"), clock.rate("needleplan clearances")
        rows = [
            Row.against("decisions_per_s", decisions, "1/s", LIMIT, DECISIONS_LIMIT),
            Row.against("capped_clearances_per_s", clearances, "1/s", LIMIT, CLEARANCES_LIMIT),
            self._wrong_row("wrong_decisions", self.wrong, "needleplan"),
            self._wrong_row("wrong_clearances", self.wrong_clearances, "needleplan"),
            Row.against("setup_s", clock.median_s("needleplan set-up"), "s", LIMIT, SETUP_LIMIT_S),
            Row("first_call_s", self.first_s, "s"),
            Row("share_clear", float((self.truth_mm >= self.scene.demanded_mm).all(axis=1).mean()), "1"),
        ]
        for peer in self.peers:
            name = peer.name
            for kind, ours, wrong in (
                ("decisions", decisions, self.wrong),
                ("clearances", clearances, self.wrong_clearances),
            ):
                if name in wrong:
                    rate = clock.rate(f"{name} {kind}")
                    figure = "decisions_per_s" if kind == "decisions" else "capped_clearances_per_s"
                    rows.append(Row.against(f"{figure} beside {name}", ours, "1/s", said[name], rate))
                    rows.append(self._wrong_row(f"wrong_{kind} of {name}", wrong, name))
        return rows

    def _wrong_row(self, name: str, wrong: dict[str, int], engine: str) -> Row:
        """An engine's wrong answers beside the number of candidates that it was asked."""
        return Row.against(name, wrong[engine], "1", "candidates asked", self.asked[engine])


def main(json_path: Path, repeats: int = 5, data: Path | None = None, quick: bool = False) -> list[Row]:
    """Run the benchmark, print tables and write the rows."""
    repeats = 1 if quick else repeats
    times = SceneTimes(make_scene(40, 20, 4) if quick else make_scene())
    for sentence in times.missing:
        print(sentence, file=sys.stderr)
    clocks = [times.clock]
    with tempfile.TemporaryDirectory() as folder:
        if data is None or quick:
            clock, real = Clock("built-in patient"), False
            queries = phantom_queries(Path(folder), 4.0 if quick else 2.0)
        else:
            clock, real = Clock("real liver"), True
            queries = real_queries(data)
        clocks.append(clock)
        count = 2_000 if quick else 100_000
        task = clock("sampling", lambda: ranking_task(queries, count))
        ranked = clock("first ranking, with all set-up", task.ranked)
        dragged = DraggedPath(task, ranked)
        dragged.move()
        dragged.move()
        for _ in range(repeats):
            times.repeat()
            ranked = clock("screened and ranked", task.ranked, count)
            for _ in range(MOVES):
                clock("one move of the edited path", dragged.move)
    rows = times.rows()
    if real:
        search = clock("complete search", task.searched)
        rows.append(Row("liver_search_s", clock.median_s("complete search"), "s"))
        rows.append(Row("liver_search_candidates", search.resolution.evaluated, "1"))
        rows.append(Row("liver_search_corridor_mm", search.resolution.entry_mm, "mm"))
        checked = 1000
        wrong, faces = wrong_clearances(task, ranked, checked)
        ranked_s = clock.median_s("screened and ranked")
        rows.append(Row.against("liver_ranked_100k_s", ranked_s, "s", LIMIT, LIVER_LIMIT_S))
        rows.append(Row.against("liver_wrong_decisions", wrong, "1", "candidates asked", checked))
        rows.append(Row("liver_faces", task.face_count, "1"))
        rows.append(Row("liver_obstacle_faces", faces, "1"))
        rows.append(Row("liver_feasible", int(ranked.feasible.sum()), "1"))
    moves = 1000.0 * clock.median_s("one move of the edited path")
    rows.append(Row.against("editor_update_ms", moves, "ms", LIMIT, EDITOR_LIMIT_MS))
    print_times(clocks)
    print_rows(rows)
    write_rows(json_path, rows)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
    parser.add_argument("--repeats", type=int, default=5, help="runs of every engine (5)")
    parser.add_argument("--data", type=Path, default=os.environ.get("NEEDLEPLAN_DATA") or None, help="real data")
    parser.add_argument("--quick", action="store_true", help="one run of a small scene, no real case")
    arguments = parser.parse_args()
    main(arguments.json, arguments.repeats, arguments.data, arguments.quick)
