"""Runs all cases and writes the page: ``PYTHONPATH=benchmarks python -m validation --page docs/validation.md``."""

import argparse
from pathlib import Path

from validation.case import cases
from validation.page import page
from validation.pictures import draw
from validation.run import run, say_on_terminal


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="validation", description=__doc__)
    parser.add_argument("--page", type=Path, help="Markdown file to write, its pictures in 'pictures' beside it")
    parser.add_argument(
        "--only", nargs="*", default=(), help="run these cases or families, for instance H01 D (no page)"
    )
    arguments = parser.parse_args()
    if arguments.only and arguments.page:
        parser.error("a page needs all cases: leave --only out")
    chosen = [
        case
        for case in cases().values()
        if not arguments.only or case.id in arguments.only or case.family in arguments.only
    ]
    results = run(chosen, say_on_terminal)
    if arguments.page:
        draw(results, arguments.page.parent / "pictures")
        arguments.page.write_text(page(results), encoding="utf-8")
    for result in results:
        for check in result.outcome.checks:
            if not check.passes:
                print(
                    f"{result.case.id} misses: {check.quantity}: {check.ours} for {check.expected} ({check.error})"
                )


if __name__ == "__main__":
    main()
