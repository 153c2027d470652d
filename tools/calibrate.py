#!/usr/bin/env python3
"""Set the embedded scorer's preset thresholds by the paper's yields, on captions that the embedded captioner wrote.

    python tools/calibrate.py --sounds SOUNDS [--scenes 1200]

The paper counts its yields among the captions that its captioner wrote for real clips and its keyword filter left:
82 % reach 0.1, of those 44 % reach 0.4 and 22.8 % reach 0.5. Here the clips are scenes mixed from recordings that
neither model was trained on, with invented titles of which some help; the captioner captions them, the keyword
filter drops those of speech and music, and each threshold is where the paper's share of the rest is kept. The odd
scenes set the thresholds, the even ones show what they keep. Run it after captioner.train: it writes
`preset_thresholds`, `calibrated_on` and `yields_percent` into the scorer's card.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np

from captioner.load import load_captioner, model_name
from captioner.titles import invent
from scorer.load import WEIGHTS, load_scorer
from scorer.measure import calibrate
from scorer.scenes import SceneMaker
from scorer.sounds import CARRY_PACKAGES, MEASURE_PACKAGES, Sound, read_sounds
from scorer.weights import CARD_FILE
from stages.words import Lexicon

PACKAGES = (*MEASURE_PACKAGES, *CARRY_PACKAGES)
SEED = 3


def own_scores(sounds: list[Sound], count: int) -> tuple[np.ndarray, str]:
    """CLAP scores of `count` scenes with the captioner's own captions, NaN where the filter drops the caption."""
    scorer = load_scorer()
    captioner = load_captioner(scorer=scorer)
    maker, rng, lexicon = SceneMaker(sounds, seed=SEED), random.Random(SEED), Lexicon()
    scores = np.full(count, np.nan)
    for number in range(count):
        scene = maker.scene(number)
        told = invent(scene.labels, scene.names, rng)
        said = captioner.caption([scene.wave], metadata=[told])[0].text
        if said and not any(lexicon.find(said)):
            scores[number] = (scorer.embed_audio([scene.wave]) @ scorer.embed_text([said]).T).item()
    return scores, model_name(captioner)


def yields(scores: np.ndarray, thresholds: dict[str, float]) -> dict[str, float]:
    """What the thresholds keep, as the paper counts it: of all, then of those that reach the first."""
    first = thresholds["AutoReCapXL"]
    reached = scores[scores >= first]
    return {
        name: round(100 * float((scores >= limit).mean() if limit == first else (reached >= limit).mean()), 1)
        for name, limit in thresholds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--scenes", type=int, default=1200)
    args = parser.parse_args()
    scores, captioner = own_scores(read_sounds(args.sounds, only=PACKAGES), args.scenes)
    odd, even = (half[~np.isnan(half)] for half in (scores[1::2], scores[::2]))
    thresholds = calibrate(odd)
    found = {
        "preset_thresholds": thresholds,
        "calibrated_on": (
            f"{len(odd)} captions by {captioner} that the keyword filter left, of {args.scenes // 2} scenes mixed "
            f"from recordings of {', '.join(PACKAGES)} (no weight was trained on them)"
        ),
        "yields_percent": {"calibrated": yields(odd, thresholds), "other_half": yields(even, thresholds)},
    }
    card_file = WEIGHTS / CARD_FILE
    card_file.write_text(json.dumps(json.loads(card_file.read_text()) | found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
