"""Captions by a full-size AutoCap: this project's way beside transformers' `generate`, in one run, at identical ids.

    python -m benchmarks.autocap                   one CPU thread, batch 8, beam 2, formula weights: always 30 ids
    python -m benchmarks.autocap --device cuda     clips/s by batch and precision, GPU busy, bf16 against fp32 captions

The plain way differs in the text side only: BART's encoder and `generate` with bart-base's settings; both hear with
this project's towers. Caption and score apart: the plain caption, which hears CLAP for its token, then the score, which
hears it again. Random ids are long words to CLAP's tokenizer, so that four of them are scored: 16 to 24
tokens, a real caption's length. The table is refused unless both ways say the same ids.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.scorer import Busy, build, seconds
from captioner.autocap.beam import PUBLISHED, beam_search
from captioner.autocap.captioner import AutoCap, read_tokenizer
from captioner.autocap.decoder import Decoder
from captioner.autocap.frontend import ClapResampler, level
from captioner.load import CaptionerOptions, Metadata
from scorer.clap import ClapScorer, load_hub
from scorer.load import ClapOptions
from tests.autocap_fill import full_net, raw_wave

BATCH, BEAMS = 8, 2
TITLES = ("My dog at the lake", "", "Rain on the roof of the old barn, ten hours", "train 4711 arrives", "kitchen")


def waves_of(count: int) -> list[np.ndarray]:
    """Ten seconds at 32 kHz, levelled, so that a score and a CLAP token hear the very same."""
    return [level(np.roll(raw_wave(10.0, k), 7001 * k)) for k in range(count)]


def metadata_of(count: int) -> list[Metadata]:
    return [Metadata(title=TITLES[k % len(TITLES)], video_caption="a dog" if k % 2 else "") for k in range(count)]


def save_words(folder: Path) -> None:
    """A tokenizer with a word for each of BART's ids: w4711."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({f"w{k}": k for k in range(50_265)}, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


class Bench:
    """Both ways over the same weights."""

    def __init__(self, folder: Path, device: str, options: CaptionerOptions) -> None:
        build(folder / "clap")
        save_words(folder / "bart")
        precision = options.precision
        self.scorer: ClapScorer = load_hub(
            str(folder / "clap"), device, ClapOptions(int16_rounding=False, precision=precision)
        )
        self.captioner = AutoCap(
            full_net(), read_tokenizer(str(folder / "bart")), model_id="formula", weights_sha256="0" * 64,
            device=device, scorer=self.scorer, options=options,
        )  # fmt: skip
        self._to_clap = ClapResampler()

    def clap_waves(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        return [self._to_clap(torch.from_numpy(wave)[None])[0].numpy() for wave in waves]

    def together(self, waves: list[np.ndarray], loud: list[np.ndarray], told: list[Metadata]) -> tuple[list[str], Any]:
        """Captions and scores, with one CLAP pass a clip."""
        heard = self.scorer.embed_audio(loud)
        texts = [said.text for said in self.captioner.caption(waves, metadata=told, clap_embeddings=heard, beams=BEAMS)]
        return texts, self.score(heard, texts)

    def score(self, heard: np.ndarray, texts: list[str]) -> Any:
        return (heard * self.scorer.embed_text([" ".join(text.split()[:4]) for text in texts])).sum(axis=1)

    def plain_caption(self, waves: list[np.ndarray], loud: list[np.ndarray], told: list[Metadata]) -> list[str]:
        """As the reference goes about it, its `generate` included."""
        encoded = self.captioner.encode(waves, metadata=told, clap_embeddings=self.scorer.embed_audio(loud))
        out = [""] * len(waves)
        for clips, states, mask in encoded.passes:
            ids = self.generate(encoder_outputs=BaseModelOutput(states), attention_mask=mask)
            for clip, text in zip(clips, self.captioner.texts(ids), strict=True):
                out[clip] = text
        return out

    def generate(self, **inputs: Any) -> torch.Tensor:
        return torch.as_tensor(
            self.captioner.net.decoder.generate(
                **inputs, num_beams=BEAMS, max_length=PUBLISHED.max_length, do_sample=False, early_stopping=True,
                length_penalty=1.0, no_repeat_ngram_size=3, forced_bos_token_id=0, forced_eos_token_id=2,
                decoder_start_token_id=2, pad_token_id=1, eos_token_id=2,
            )
        )  # fmt: skip


@torch.inference_mode()
def on_cpu(folder: Path, rounds: int) -> None:
    torch.set_num_threads(1)
    bench = Bench(folder, "cpu", CaptionerOptions(bart=str(folder / "bart"), batch=BATCH))
    waves, told = waves_of(BATCH), metadata_of(BATCH)
    loud = bench.clap_waves(waves)
    net, decoder = bench.captioner.net, Decoder(bench.captioner.net.decoder)
    parts = bench.captioner.parts(waves, told, bench.scorer.embed_audio(loud))
    inputs, mask = bench.captioner.bart_input(parts)

    def plain_text() -> torch.Tensor:
        return bench.generate(inputs_embeds=inputs, attention_mask=mask)

    def our_text() -> torch.Tensor:
        return beam_search(decoder, net.understand(inputs, mask), mask, BEAMS)[0]

    if not torch.equal(plain_text(), our_text()):
        sys.exit("the ids differ: nothing to compare")
    if bench.plain_caption(waves, loud, told) != bench.together(waves, loud, told)[0]:
        sys.exit("the captions differ: nothing to compare")

    def apart() -> Any:
        texts = bench.plain_caption(waves, loud, told)
        return bench.score(bench.scorer.embed_audio(loud), texts)

    def caption() -> Any:
        heard = bench.scorer.embed_audio(loud)
        return bench.captioner.caption(waves, metadata=told, clap_embeddings=heard, beams=BEAMS)

    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "text side (BART's encoder, beam search)": (plain_text, our_text),
        "a whole caption": (lambda: bench.plain_caption(waves, loud, told), caption),
        "caption and CLAP score": (apart, lambda: bench.together(waves, loud, told)),
    }
    print(f"AutoCap, full size, formula weights: one thread, batch {BATCH}, beam {BEAMS}, 30 ids, identical ids\n")
    print("| CPU ms a clip | generate | this project | times as fast |\n|---|---|---|---|")
    for name, (theirs, own) in pairs.items():
        # side by side, round by round: a busy machine slows both
        timed = [(seconds(theirs, 1), seconds(own, 1)) for _ in range(rounds)]
        left, right = (min(column) / BATCH * 1e3 for column in zip(*timed, strict=True))
        print(f"| {name} | {left:.0f} | {right:.0f} | {left / right:.2f} |", flush=True)
    state = net.understand(inputs, mask)
    shares = {
        "mel and HTSAT": lambda: bench.captioner.hear(parts),
        "Q-Former": lambda: net.query(heard_once),
        "CLAP": lambda: bench.scorer.embed_audio(loud),
        "BART's encoder": lambda: net.understand(inputs, mask),
        "beam search": lambda: beam_search(decoder, state, mask, BEAMS),
    }
    heard_once = bench.captioner.hear(parts)
    told_ms = ", ".join(f"{name} {seconds(work, 2) / BATCH * 1e3:.0f}" for name, work in shares.items())
    print(f"\nCPU ms a clip by part, here: {told_ms}")


def on_gpu(folder: Path, count: int) -> None:
    print(
        f"{torch.cuda.get_device_name()}: AutoCap, full size, formula weights, clips of 10 s in host memory, beam 2\n"
    )
    waves, told = waves_of(count), metadata_of(count)
    reference: list[str] | None = None
    print(
        "| precision | batch | compiled | caption, clips/s | caption + CLAP, clips/s | GPU busy | captions as fp32's |"
    )
    print("|---|---|---|---|---|---|---|")
    for precision, compiled in (("float32", False), ("bfloat16", False), ("bfloat16", True)):
        for batch in (32, 128, 256):
            options = CaptionerOptions(
                bart=str(folder / "bart"),
                batch=batch,
                precision=precision,
                compile=compiled,  # type: ignore[arg-type]
            )
            bench = Bench(folder, "cuda", options)
            loud = bench.clap_waves(waves)
            heard = bench.scorer.embed_audio(loud)
            bench.together(waves[:batch], loud[:batch], told[:batch])
            alone = wall(
                lambda b=bench, h=heard: b.captioner.caption(waves, metadata=told, clap_embeddings=h, beams=BEAMS)
            )
            with Busy() as busy:
                start = time.perf_counter()
                texts, _ = bench.together(waves, loud, told)
                took = time.perf_counter() - start
            reference = reference or texts
            same = 100 * np.mean([a == b for a, b in zip(texts, reference, strict=True)])
            print(
                f"| {precision} | {batch} | {'yes' if compiled else 'no'} | {count / alone:.0f} | {count / took:.0f} "
                f"| {busy.percent:.0f} % | {same:.1f} % |",
                flush=True,
            )


def wall(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--clips", type=int, default=1000, help="on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.device == "cpu":
            on_cpu(Path(folder), asked.rounds)
        else:
            on_gpu(Path(folder), asked.clips)


if __name__ == "__main__":
    main()
