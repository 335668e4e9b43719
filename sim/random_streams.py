"""Independent streams of random numbers from one seed."""

import numpy as np


def random_streams(seed: int | np.random.SeedSequence, count: int) -> list[np.random.Generator]:
    """Generators (count,) that depend on the seed alone: a sequence that is handed in is not used up.

    A part that draws from a stream of its own changes no other when it is switched on.
    """
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    own = np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key, pool_size=sequence.pool_size)
    return [np.random.default_rng(child) for child in own.spawn(count)]
