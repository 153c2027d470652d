"""Captions for the tests of metrics: few words are frequent, many rare, and some candidates are right."""

import numpy as np


def captions_like_speech(clips: int, most_references: int, seed: int) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Candidates (some empty, some equal to a reference) and one to `most_references` references of each."""
    rng = np.random.default_rng(seed)

    def caption(shortest: int) -> list[str]:
        return [f"w{min(int(k), 299)}" for k in rng.exponential(20, rng.integers(shortest, 14))]

    references = [[caption(1) for _ in range(rng.integers(1, most_references + 1))] for _ in range(clips)]
    candidates = [list(some[0]) if rng.random() < 0.3 else caption(0) for some in references]
    return candidates, references


def as_coco(
    candidates: list[list[str]], references: list[list[list[str]]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """What pycocoevalcap's scorers take: references and candidates by clip, as strings."""
    gts = {k: [" ".join(tokens) for tokens in some] for k, some in enumerate(references)}
    return gts, {k: [" ".join(tokens)] for k, tokens in enumerate(candidates)}
