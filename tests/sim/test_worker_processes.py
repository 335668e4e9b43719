"""Work in several processes: the same answers however many, and one sentence for whatever goes wrong."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from needleplan.errors import MotionError, NeedleplanError, OptionError
from sim.worker_processes import spread_work


def square(number: int) -> tuple[int, int, str]:
    return number**2, os.getpid(), os.environ["NUMBA_NUM_THREADS"]


def refuse(number: int) -> int:
    if number == 2:
        raise MotionError("the patient does not breathe")
    return number


def stumble(number: int) -> int:
    return 1 // number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def leave(number: int) -> int:
    os._exit(3)


def hang(number: int) -> int:
    time.sleep(60.0)
    return number


def name_of(number: int) -> str:
    return f"number {number}"


def spread(work, items=(0, 1, 2, 3, 4), jobs=2, limit_s=30.0, progress=None):
    return spread_work(work, items, name_of=name_of, jobs=jobs, limit_s=limit_s, progress=progress)


def no_child_is_left() -> bool:
    return not [child for child in multiprocessing.active_children() if child.is_alive()]


def test_answers_come_in_the_order_of_the_items_from_processes_of_one_thread():
    before = dict(os.environ)
    told: list[tuple[str, float]] = []
    answers = spread(square, progress=lambda name, share: told.append((name, share)))
    assert [answer[0] for answer in answers] == [0, 1, 4, 9, 16]
    assert os.getpid() not in {answer[1] for answer in answers}
    assert {answer[2] for answer in answers} == {"1"}
    assert sorted(name for name, _ in told) == [f"number {k}" for k in range(5)]
    assert [share for _, share in told] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert dict(os.environ) == before and no_child_is_left()
    assert spread(square, items=()) == ()


@pytest.mark.parametrize(
    ("work", "limit_s", "error", "words"),
    [
        (refuse, 30.0, MotionError, "^number 2: the patient does not breathe$"),
        (stumble, 30.0, RuntimeError, "number 0 failed.*\n(.*\n)*.*ZeroDivisionError"),
        (die, 30.0, NeedleplanError, "number [01].*SIGKILL"),
        (leave, 30.0, NeedleplanError, "number [01] ended with code 3"),
        (hang, 0.2, NeedleplanError, r"number [01] has not finished after 0\.2 s"),
    ],
)
def test_what_goes_wrong_is_told_and_nothing_is_left_running(work, limit_s, error, words):
    begin = time.monotonic()
    with pytest.raises(error, match=words):
        spread(work, limit_s=limit_s)
    assert time.monotonic() - begin < 20.0 and no_child_is_left()


def test_impossible_numbers_are_refused():
    for changes in ({"jobs": 0}, {"jobs": 10_000}, {"limit_s": 0.0}, {"limit_s": float("nan")}):
        with pytest.raises(OptionError):
            spread(square, **changes)


def test_ctrl_c_ends_all_processes(tmp_path: Path):
    script = tmp_path / "many.py"
    script.write_text(
        "import os, signal, time\n"
        "from sim.worker_processes import spread_work\n"
        # Whoever runs the tests in the background may have had interrupts ignored, which is inherited.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def slow(k):\n"
        f"    open(os.path.join({str(tmp_path)!r}, str(os.getpid())), 'w').close()\n"
        "    time.sleep(60)\n"
        "def name(k):\n"
        "    return str(k)\n"
        "if __name__ == '__main__':\n"
        "    spread_work(slow, [1, 2], name_of=name, jobs=2, limit_s=100.0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 20.0
        while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        workers = [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]
        process.send_signal(signal.SIGINT)
        assert process.wait(15.0) != 0
    assert len(workers) == 2
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
