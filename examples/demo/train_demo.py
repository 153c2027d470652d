"""`make demo-train`: the demo's next step, a text-to-audio model trained from nothing on the shards that it exported.

Types the commands a user would (genau encode, train, generate) and measures what was learned: the loss on held-out
clips at fixed steps of noise, before and after. Run it again and every step finds its work done.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from examples.demo import run_demo

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/genau_tiny.yaml"
PROMPTS = ("a dog barks", "water runs from a faucet", "a telephone rings")
#: The loss that training must come to, as a share of the untrained net's.
GOOD = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", default=f"{run_demo.RUN}/shards", help="an export; default: the demo's")
    parser.add_argument("--latents", default=f"{run_demo.RUN}/latents", help="where its latents go")
    parser.add_argument("--out", default="runs/genau_tiny")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    args = parser.parse_args()
    if args.shards == f"{run_demo.RUN}/shards" and not (ROOT / args.shards / "manifest.json").exists():
        print("There are no shards yet: the demo comes first.")
        code = run_demo.main()
        if code != 0:
            return code
    return train_demo(args.shards, args.latents, args.out, args.overrides)


def train_demo(shards: str, latents: str, out: str, overrides: Sequence[str] = ()) -> int:
    """Exit code 0 where all commands did and the loss fell below GOOD of the untrained one."""
    begun = time.monotonic()
    sets = [word for one in overrides for word in ("--set", one)]
    if code := autorecap("genau", "encode", shards, "--out", latents, "--workers", "0", "--device", "cpu"):
        return code
    before = loss(overrides, None)
    if code := autorecap("genau", "train", CONFIG, *sets, "--out", out, "--resume"):
        return code
    after = loss(overrides, f"{out}/model")
    prompts = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    sounds = f"{out}/sounds"
    if code := autorecap("genau", "generate", "--model", f"{out}/model", *prompts, "--out", sounds,
                         "--solver", "dpm", "--guidance", "2", "--spectrogram"):  # fmt: skip
        return code
    print(f"\nThe job took {time.monotonic() - begun:.0f} s. Loss on held-out clips, the mean over ten fixed steps of")
    print(f"noise: {before:.3f} untrained, {after:.3f} trained ({100 * after / before:.0f} %; wanted: below half).")
    print(f"Sounds and their spectrograms: {sounds}. So few clips teach no generator: what else it takes is in")
    print("docs/genau.md.")
    return 0 if after < GOOD * before else 1


def autorecap(*words: str) -> int:
    print(f"\n$ autorecap {shlex.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "pipeline.cli", *words], cwd=ROOT).returncode
    if code != 0:
        print(f"it stopped: autorecap {' '.join(words[:2])} ended with {code}", file=sys.stderr)
    return code


def loss(overrides: Sequence[str], model: str | None) -> float:
    """Of the recipe's validation clips, with the net as it is drawn from the seed, or with a trained one's weights."""
    import torch

    from genau.lesson_start import fit_training
    from genau.recipe import FitRecipe
    from pipeline.config import load_typed
    from training.crew import crew

    start = [] if model is None else [f"start.checkpoint={model}"]
    recipe = load_typed(str(ROOT / CONFIG), [*overrides, *start], FitRecipe)
    torch.set_num_threads(1)
    alone = crew("cpu")
    with tempfile.TemporaryDirectory() as folder:
        lesson, _ = fit_training(recipe, Path(folder), alone)
        lesson.eval()
        assert lesson.held_out is not None
        return lesson.measure(lesson.held_out(), alone)["loss"]


if __name__ == "__main__":
    sys.exit(main())
