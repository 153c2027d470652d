"""How good a scorer is on recordings it never heard, beside chance; and where its thresholds lie.

    python -m scorer.measure --sounds DIR [--model embedded] [--packages gcompris-qt-data]

Thresholds: scenes of the held-out package, half with their own caption and half with another scene's, are scored;
each preset's threshold is where the share that the paper reports would be kept (see PAPER_SHARES).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from scorer.load import Scorer, load_scorer
from scorer.scenes import SceneMaker
from scorer.sentences import caption
from scorer.sounds import MEASURE_PACKAGES, Sound, read_sounds

#: Of the clips that pass the keyword filter: 82 % reach 0.1; of those 44 % reach 0.4 and 22.8 % reach 0.5.
PAPER_SHARES = {"AutoReCapXL": 0.82, "MQ": 0.82 * 0.44, "HQ": 0.82 * 0.228}
CALIBRATION_SCENES = 400


def auc(matched: np.ndarray, mismatched: np.ndarray) -> float:
    """The chance that a matched pair scores above a mismatched one; ties count half."""
    from_low = np.sort(mismatched)
    below = np.searchsorted(from_low, matched, side="left") + np.searchsorted(from_low, matched, side="right")
    return float(below.mean() / (2 * len(mismatched)))


def measure(scorer: Scorer, sounds: list[Sound]) -> dict[str, float]:
    """Each recording alone against every caption of the set: recall at k in percent, ROC AUC, all beside chance."""
    captions = sorted({s.label for s in sounds})
    own = np.array([captions.index(s.label) for s in sounds])
    scores = scorer.embed_audio([s.wave for s in sounds]) @ scorer.embed_text(captions).T
    mine = scores[np.arange(len(sounds)), own]
    others = np.ones_like(scores, dtype=bool)
    others[np.arange(len(sounds)), own] = False
    rank = (scores > mine[:, None]).sum(axis=1)
    found = {"clips": float(len(sounds)), "captions": float(len(captions)), "auc": auc(mine, scores[others])}
    for k in (1, 5, 10):
        found[f"recall_at_{k}_percent"] = 100 * float((rank < k).mean())
        found[f"chance_at_{k}_percent"] = 100 * k / len(captions)
    return {name: round(value, 3) for name, value in found.items()}


def scene_scores(scorer: Scorer, sounds: list[Sound], count: int = CALIBRATION_SCENES) -> tuple[np.ndarray, np.ndarray]:
    """Scores of held-out scenes with their own caption, and of the same scenes with another's."""
    maker = SceneMaker(sounds, seed=1)
    scenes = [maker.scene(k) for k in range(count)]
    audio = scorer.embed_audio([s.wave for s in scenes])
    text = scorer.embed_text([caption(s.labels, s.relation) for s in scenes])
    strangers = [
        next(j % count for j in range(k + 1, k + count) if not set(scenes[j % count].labels) & set(scenes[k].labels))
        for k in range(count)
    ]
    return (audio * text).sum(axis=1), (audio * text[strangers]).sum(axis=1)


def calibrate(matched: np.ndarray, mismatched: np.ndarray) -> dict[str, float]:
    both = np.concatenate([matched, mismatched])
    return {name: round(float(np.quantile(both, 1 - share)), 3) for name, share in PAPER_SHARES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--packages", nargs="+", default=MEASURE_PACKAGES, help="recordings kept out of training")
    args = parser.parse_args()
    scorer = load_scorer(args.model)
    sounds = read_sounds(args.sounds, only=args.packages)
    matched, mismatched = scene_scores(scorer, sounds)
    report = measure(scorer, sounds) | {"scene_auc": round(auc(matched, mismatched), 3)}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
