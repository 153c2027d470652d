"""CLAP scores of 10 s clips with captions: this project's way beside the plain loop over transformers, in one run.

    python -m benchmarks.scorer                    one CPU thread, full size (HTSAT-base, RoBERTa-base), random weights
    python -m benchmarks.scorer --device cuda      clips/s by batch and precision, and how busy the GPU is

The plain loop: per clip one ClapProcessor call, one ClapModel call. Both score the same clips with distinct captions;
the table is refused unless the scores agree to 1e-4. The share of a bare matrix product: multiplications of the tower
per second against those of one big product on the same thread in the same run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scorer.clap import ClapScorer, load_hub
from scorer.load import WEIGHTS, ClapOptions

RATE_HZ = 48_000
PLACES = ("near a road", "in a quiet room", "while rain falls", "by the sea", "in the distance", "behind a door")
SOURCES = ("a dog barks", "water runs", "an engine idles", "a bell rings", "birds chirp", "wood creaks", "wind blows")


def build(folder: Path) -> None:
    """A full-size ClapModel with random weights, as LAION's HTSAT-base checkpoints are, in transformers' layout."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    audio = {"patch_embeds_hidden_size": 128, "depths": [2, 2, 12, 2], "num_attention_heads": [4, 8, 16, 32],
             "hidden_size": 1024, "enable_fusion": False}  # fmt: skip
    torch.manual_seed(0)
    ClapModel(ClapConfig(audio_config=audio)).save_pretrained(folder)
    ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc").save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(WEIGHTS / "tokenizer.json"), pad_token="<pad>")
    tokenizer.pad_token_id = 1  # RoBERTa's: positions are counted past it
    tokenizer.save_pretrained(folder)


def clips(count: int) -> tuple[list[np.ndarray], list[str]]:
    draw = np.random.default_rng(0)
    waves = [draw.normal(0, 0.1, 10 * RATE_HZ).astype(np.float32) for _ in range(count)]
    texts = [f"{SOURCES[k % 7]} {PLACES[k % 6]} and {SOURCES[(k + 3) % 7]} {k} times" for k in range(count)]
    return waves, texts


class Plain:
    """What the documentation of transformers shows, clip by clip."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

        self.model: Any = ClapModel.from_pretrained(folder).eval()
        self.extract: Any = ClapFeatureExtractor.from_pretrained(folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def scores(self, waves: list[np.ndarray], texts: list[str]) -> np.ndarray:
        out = []
        for wave, text in zip(waves, texts, strict=True):
            tokens = self.tokenizer([text], return_tensors="pt", padding=True)
            heard = self.model(**tokens, **self.extract(wave, sampling_rate=RATE_HZ, return_tensors="pt"))
            out.append(float((heard.audio_embeds * heard.text_embeds).sum()))
        return np.array(out)


def ours(scorer: ClapScorer, waves: list[np.ndarray], texts: list[str]) -> np.ndarray:
    return np.asarray((scorer.embed_audio(waves) * scorer.embed_text(texts)).sum(axis=1))


def seconds(work: Callable[[], Any], repeat: int = 3) -> float:
    """The fastest of some runs, after one to warm up, in CPU seconds of this process."""
    work()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


@torch.inference_mode()
def on_cpu(folder: Path, count: int, rounds: int) -> None:
    torch.set_num_threads(1)
    plain, scorer = Plain(folder), load_hub(str(folder), "cpu", ClapOptions())
    waves, texts = clips(count)
    gap = float(np.abs(plain.scores(waves, texts) - ours(scorer, waves, texts)).max())
    if gap > 1e-4:
        sys.exit(f"the scores differ by {gap:.1e}: nothing to compare")
    mel = scorer.log_mel(torch.from_numpy(waves[0])[None])[:, None]
    features = plain.extract(waves[0], sampling_rate=RATE_HZ, return_tensors="pt")
    tokens = [plain.tokenizer([text], return_tensors="pt") for text in texts]
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any], int]] = {
        "mel": (
            lambda: [plain.extract(one, sampling_rate=RATE_HZ, return_tensors="pt") for one in waves],
            lambda: [scorer.log_mel(torch.from_numpy(one)[None]) for one in waves],
            count,
        ),
        "audio tower": (
            lambda: plain.model.get_audio_features(**features),
            lambda: scorer.net.embed_mel(mel),
            1,
        ),
        "text tower": (
            lambda: [plain.model.get_text_features(**one) for one in tokens],
            lambda: scorer.embed_text(texts),
            count,
        ),
        "the whole": (lambda: plain.scores(waves, texts), lambda: ours(scorer, waves, texts), count),
    }
    print(f"HTSAT-base + RoBERTa-base, random weights, one thread, {count} clips of 10 s with distinct captions")
    print(f"largest difference of two scores: {gap:.1e}\n")
    print("| CPU ms a clip | transformers' loop | this project | times as fast |\n|---|---|---|---|")
    for name, (theirs, own, of) in pairs.items():
        # side by side, round by round: a busy machine slows both
        timed = [(seconds(theirs, 1), seconds(own, 1)) for _ in range(rounds)]
        left, right = (min(column) / of * 1e3 for column in zip(*timed, strict=True))
        print(f"| {name} | {left:.1f} | {right:.1f} | {left / right:.2f} |")
    speed, peak = tower_speed(scorer, mel)
    print(f"\nthe audio tower runs at {speed:.0f} GFLOP/s, a bare matrix product at {peak:.0f}: {speed / peak:.0%}")


def tower_speed(scorer: ClapScorer, mel: torch.Tensor) -> tuple[float, float]:
    """GFLOP/s of the audio tower and of one 2048 x 2048 x 2048 product."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        scorer.net.embed_mel(mel)
    square = torch.randn(2048, 2048)
    tower = counter.get_total_flops() / seconds(lambda: scorer.net.embed_mel(mel))
    return tower / 1e9, 2 * 2048**3 / seconds(lambda: square @ square) / 1e9


def on_gpu(folder: Path, count: int) -> None:
    print(f"{torch.cuda.get_device_name()}: HTSAT-base + RoBERTa-base, random weights, clips of 10 s in host memory\n")
    waves, texts = clips(count)
    reference = None
    print("| precision | batch | clips/s | GPU busy | largest score difference to float32 |\n|---|---|---|---|---|")
    for precision in ("float32", "bfloat16"):
        for batch in (16, 64, 128):
            scorer = load_hub(str(folder), "cuda", ClapOptions(precision=precision, batch=batch))
            ours(scorer, waves[:batch], texts[:batch])
            with Busy() as busy:
                start = time.perf_counter()
                scores = ours(scorer, waves, texts)
                took = time.perf_counter() - start
            reference = scores if reference is None else reference
            gap = np.abs(scores - reference).max()
            print(f"| {precision} | {batch} | {count / took:.0f} | {busy.percent:.0f} % | {gap:.1e} |")


class Busy:
    """The mean of nvidia-smi's utilisation while the body runs."""

    def __enter__(self) -> Busy:
        self._values: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while not self._stop.wait(0.05):
            self._values.append(float(subprocess.run(ask, capture_output=True, text=True, check=True).stdout))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.percent = float(np.mean(self._values)) if self._values else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--clips", type=int, help="default: 24 on a CPU, 2048 on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        if asked.device == "cpu":
            on_cpu(Path(folder), asked.clips or 24, asked.rounds)
        else:
            on_gpu(Path(folder), asked.clips or 2048)


if __name__ == "__main__":
    main()
