"""Names that options take and that no choice of the parser lists: applicators, robots, strategies, presets."""

from collections.abc import Mapping


def known_names() -> Mapping[str, tuple[str, ...]]:
    """Names by the destination of the option or argument that takes them."""
    from needleplan.app.export_formats import chosen_formats
    from needleplan.devices.catalogue import builtin_catalogue
    from needleplan.devices.tissues import builtin_tissues
    from needleplan.trajectory.preset import builtin_presets
    from needleplan.uncertainty.presets import preset_names
    from robots.catalogue import list_robots
    from sim.strategies import STRATEGIES

    applicators = tuple(each.name for each in builtin_catalogue().applicators)
    tissues = tuple(builtin_tissues().names)
    return {
        "applicator": applicators,
        "robot": list_robots(),
        "files": list_robots(),
        "strategy": (*STRATEGIES, "all"),
        "preset": builtin_presets(),
        "tissue": tissues,
        "tumour": tissues,
        "error_budget": preset_names(),
        "to": (*chosen_formats("all"), "slicer", "all"),
    }
