"""How well a scorer tells fitting captions from others, on recordings that nobody trained on.

    python -m scorer.measure --sounds DIR [--model embedded] [--packages gcompris-qt-data] [--teachers TEACHERS]

Each recording alone, repeated to 10 s, against every caption of its set: recall at 1, 5 and 10 from sound to text
and from text to sound, and the ROC AUC of own captions against all others; intervals are bootstraps over the clips
(text to sound: over the captions). With --teachers, the same for what the audio tower was taught by: YAMNet's
classes, mixed as the tower mixes them, read by MiniLM.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import partial
from math import comb
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scorer.load import load_scorer
from scorer.scenes import SceneMaker
from scorer.sentences import caption
from scorer.sounds import MEASURE_PACKAGES, Sound, read_sounds

#: Of the clips that pass the keyword filter: 82 % reach 0.1; of those 44 % reach 0.4 and 22.8 % reach 0.5.
PAPER_SHARES = {"AutoReCapXL": 0.82, "MQ": 0.82 * 0.44, "HQ": 0.82 * 0.228}
CALIBRATION_SCENES = 400
RANKS = (1, 5, 10)
DRAWS = 1000
Report = dict[str, Any]


class Ears(Protocol):
    """As much of a scorer as is measured."""

    def embed_audio(self, waves: Sequence[np.ndarray]) -> np.ndarray: ...
    def embed_text(self, texts: Sequence[str]) -> np.ndarray: ...


def auc(matched: np.ndarray, mismatched: np.ndarray) -> float:
    """The chance that a matched pair scores above a mismatched one; ties count half."""
    from_low = np.sort(mismatched)
    below = np.searchsorted(from_low, matched, side="left") + np.searchsorted(from_low, matched, side="right")
    return float(below.mean() / (2 * len(mismatched)))


def measure(scorer: Ears, sounds: list[Sound], trained_captions: Collection[str] = ()) -> Report:
    """Retrieval and ROC AUC over one set; `unheard` holds the clips whose caption is none of training's."""
    captions = sorted({s.label for s in sounds})
    own = np.array([captions.index(s.label) for s in sounds])
    scores = scorer.embed_audio([s.wave for s in sounds]) @ scorer.embed_text(captions).T
    found: Report = {"clips": len(sounds), "captions": len(captions)}
    found |= separation(scores, own) | {
        "sound_to_text": sound_to_text(scores, own),
        "text_to_sound": text_to_sound(scores, own),
    }
    new = np.array([s.label not in trained_captions for s in sounds])
    if trained_captions and new.any():
        found["unheard"] = {"clips": int(new.sum())} | separation(scores[new], own[new])
        found["unheard"]["sound_to_text"] = sound_to_text(scores[new], own[new])
    return found


def separation(scores_NC: np.ndarray, own_N: np.ndarray) -> Report:
    def of(rows: np.ndarray) -> float:
        other = np.ones((len(rows), scores_NC.shape[1]), dtype=bool)
        other[np.arange(len(rows)), own_N[rows]] = False
        return auc(scores_NC[rows, own_N[rows]], scores_NC[rows][other])

    value, low, high = with_interval(of, len(own_N))
    return {"auc": round(value, 3), "auc_95": [round(low, 3), round(high, 3)]}


def sound_to_text(scores_NC: np.ndarray, own_N: np.ndarray) -> Report:
    """How often a clip's own caption is among the best k."""
    rank = (scores_NC > scores_NC[np.arange(len(own_N)), own_N][:, None]).sum(axis=1)
    return recalls(rank, [min(1.0, k / scores_NC.shape[1]) for k in RANKS])


def text_to_sound(scores_NC: np.ndarray, own_N: np.ndarray) -> Report:
    """How often one of a caption's own clips is among the best k."""
    clips, captions = scores_NC.shape
    best = [scores_NC[own_N == c, c].max() for c in range(captions)]
    counts = np.bincount(own_N, minlength=captions)
    draws = [min(k, clips) for k in RANKS]
    chance = [float(np.mean([1 - comb(clips - int(m), k) / comb(clips, k) for m in counts])) for k in draws]
    return recalls((scores_NC > np.array(best)[None]).sum(axis=0), chance)


def recalls(rank: np.ndarray, chance: list[float]) -> Report:
    found: Report = {}
    for k, lucky in zip(RANKS, chance, strict=True):
        hits = 100.0 * (rank < k)
        value, low, high = with_interval(partial(mean_of, hits), len(rank))
        found[f"recall_at_{k}_percent"] = round(value, 1)
        found[f"recall_at_{k}_95"] = [round(low, 1), round(high, 1)]
        found[f"chance_at_{k}_percent"] = round(100 * lucky, 1)
    return found


def mean_of(values: np.ndarray, rows: np.ndarray) -> float:
    return float(values[rows].mean())


def with_interval(of: Callable[[np.ndarray], float], size: int) -> tuple[float, float, float]:
    """A figure over all rows, and the 2.5 and 97.5 % points of it over rows drawn with replacement."""
    draw = np.random.default_rng(0)
    drawn = [of(draw.integers(size, size=size)) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return of(np.arange(size)), float(low), float(high)


def scene_scores(scorer: Ears, sounds: list[Sound], count: int = CALIBRATION_SCENES) -> tuple[np.ndarray, np.ndarray]:
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


def calibrate(scores: np.ndarray) -> dict[str, float]:
    """Per preset the threshold at which the paper's share of these clips is kept."""
    return {name: round(float(np.quantile(scores, 1 - share)), 3) for name, share in PAPER_SHARES.items()}


def report(scorer: Ears, sounds: Path, packages: Sequence[str], teachers: Path | None = None) -> Report:
    """All figures of one set, with the teacher's beside them where its folder is named."""
    held_out, trained = read_sounds(sounds, only=packages), read_sounds(sounds)
    captions = {s.label for s in trained}
    matched, mismatched = scene_scores(scorer, held_out)
    found = measure(scorer, held_out, captions) | {"scene_auc": round(auc(matched, mismatched), 3)}
    if teachers:
        from scorer.teachers import TeacherScorer

        with tempfile.TemporaryDirectory() as scratch:
            found["teacher"] = measure(TeacherScorer(teachers, Path(scratch), trained), held_out, captions)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--packages", nargs="+", default=MEASURE_PACKAGES, help="recordings kept out of training")
    parser.add_argument("--teachers", type=Path, help="pip's --target folder with both teachers, to measure them too")
    args = parser.parse_args()
    found = report(load_scorer(args.model), args.sounds, args.packages, args.teachers)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
