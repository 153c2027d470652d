"""A published AutoCap behind the captioner's face.

Clips are worked on in passes of at most one size, those with like metadata together; what fills metadata up is masked.
A clip's caption depends on its pass by rounding only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audio.resample import resample
from captioner.autocap.beam import beam_search
from captioner.autocap.checkpoint import build, find_file, read_weights
from captioner.autocap.decoder import Decoder
from captioner.autocap.frontend import CLAP_RATE_HZ, MIN_SAMPLES, SAMPLE_RATE_HZ, ClapResampler, front_end, parts_of
from captioner.autocap.net import BOS, EOS, PAD, REPEATS, AutoCapNet
from captioner.autocap.prompt import PUBLISHED_SPACING, metadata_ids
from captioner.load import Captioned, Captioner, CaptionerError, CaptionerOptions, Metadata, in_one
from scorer.clap_mel import LogMel
from scorer.load import Scorer, load_scorer
from scorer.load import model_name as scorer_name
from scorer.weights import WeightsError

log = logging.getLogger(__name__)
CPU_BATCH, GPU_BATCH = 8, 128
#: On a GPU metadata is filled up to a multiple of this, so that few shapes come about.
LENGTH_STEP = 16


@dataclass(frozen=True)
class Part:
    """One window to be heard: which clip's, its wave (320000,), its metadata ids, its CLAP embedding."""

    clip: int
    wave: np.ndarray
    ids: list[int]
    clap: np.ndarray | None


#: Of one pass: whose windows they are, what BART's encoder made of them (B, S, D), and the mask (B, S).
Pass = tuple[list[int], torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Encoded:
    """What the decoder attends to, of some clips."""

    passes: list[Pass]
    clips: int


class AutoCap(Captioner):
    """See captioner.load.Captioner. `clap_name`: the CLAP whose embeddings it takes; None: the caller must know."""

    sample_rate_hz = SAMPLE_RATE_HZ
    min_samples = MIN_SAMPLES

    def __init__(
        self,
        net: AutoCapNet,
        tokenizer: Any,
        *,
        model_id: str,
        weights_sha256: str,
        device: str = "cpu",
        scorer: Scorer | None = None,
        clap_name: str | None = None,
        options: CaptionerOptions | None = None,
    ) -> None:
        self.model_id, self.weights_sha256, self.device = model_id, weights_sha256, device
        self.options = options or CaptionerOptions()
        self.clap_name = scorer_name(scorer) if scorer else clap_name
        self._scorer, self._tokenizer = scorer, tokenizer
        self._batch = self.options.batch or (CPU_BATCH if device == "cpu" else GPU_BATCH)
        self._log_mel = LogMel(front_end()).to(device)
        self._resample_for_clap = ClapResampler().to(device)
        self.net = to_precision(net.to(device), self.options.precision)
        compiled = self.options.compile and device != "cpu"
        self._decoder = Decoder(self.net.decoder, static=device != "cpu", compiled=compiled)
        if compiled:
            self.net.hear = torch.compile(self.net.hear, dynamic=False)  # type: ignore[method-assign]
            self.net.query = torch.compile(self.net.query, dynamic=False)  # type: ignore[method-assign]
            self.net.understand = torch.compile(self.net.understand)  # type: ignore[method-assign]

    def encode(
        self,
        waves: Sequence[np.ndarray],
        *,
        metadata: Sequence[Metadata] | None = None,
        clap_embeddings: np.ndarray | None = None,
    ) -> Encoded:
        """ValueError for a wave of fewer than 101 samples, of other than one dimension, or with NaN or infinity."""
        if not len(waves):
            return Encoded([], 0)
        parts = self.parts(waves, metadata or [Metadata()] * len(waves), self._clap(waves, clap_embeddings))
        return Encoded(list(self._passes(parts)), len(waves))

    def _passes(self, parts: list[Part]) -> Iterator[Pass]:
        """Parts in passes of the size that the memory holds: from where it did not, half of it, and so it stays."""
        waiting = list(in_passes(parts, self._batch))
        while waiting:
            chunk = waiting.pop(0)
            try:
                inputs, mask = self.bart_input(chunk)
                yield [part.clip for part in chunk], self._understand(inputs, mask), mask
            except torch.OutOfMemoryError:
                if len(chunk) == 1:
                    raise
                self._batch = (len(chunk) + 1) // 2
                log.warning("the device's memory does not hold %d clips at once: passes of %d", len(chunk), self._batch)
                torch.cuda.empty_cache()
                rest = [part for each in (chunk, *waiting) for part in each]
                waiting = list(in_passes(rest, self._batch))

    def say(self, encoded: Encoded, *, beams: int = 2) -> list[Captioned]:
        said: list[list[Captioned]] = [[] for _ in range(encoded.clips)]
        for clips, states, mask in encoded.passes:
            ids, logprobs = self._search(states, mask, beams)
            for clip, text, logprob in zip(clips, self.texts(ids), logprobs.tolist(), strict=True):
                said[clip].append(Captioned(text, round(logprob, 4)))
        return [self._one(windows) for windows in said]

    def _search(self, states: torch.Tensor, mask: torch.Tensor, beams: int) -> tuple[torch.Tensor, torch.Tensor]:
        """beam_search; in two halves where the device's memory does not hold so many beams."""
        try:
            return beam_search(self._decoder, states, mask, beams)
        except torch.OutOfMemoryError:
            if len(states) == 1:
                raise
        torch.cuda.empty_cache()
        half = (len(states) + 1) // 2
        parts = [self._search(states[rows], mask[rows], beams) for rows in (slice(half), slice(half, None))]
        return torch.cat([ids for ids, _ in parts]), torch.cat([logprobs for _, logprobs in parts])

    def _clap(self, waves: Sequence[np.ndarray], given: np.ndarray | None) -> np.ndarray | None:
        """(B, E), one embedding a clip, given or our own; None where windows make theirs, or the model has none."""
        width = self.net.shape.clap_dim
        if width is None or self.options.clap_token == "reference":
            return None
        if given is None:
            scorer = self.own_clap()
            given = scorer.embed_audio([resample(w, SAMPLE_RATE_HZ, scorer.sample_rate_hz) for w in waves])
        given = np.asarray(given, dtype=np.float32)
        if given.shape != (len(waves), width):
            raise CaptionerError(
                f"CLAP embeddings have shape {given.shape}, {self.model_id} takes {(len(waves), width)}"
            )
        return given

    def own_clap(self) -> Scorer:
        """What makes the CLAP token where no embeddings are given; CaptionerError if there is nothing."""
        if self._scorer is None:
            raise CaptionerError(
                f"{self.model_id} takes a CLAP embedding of {self.net.shape.clap_dim} numbers "
                f"({self.clap_name or 'its own CLAP'}): name that CLAP (`clap`: LAION's .pt file), or give its "
                "embeddings (stage `embed` with that model)"
            )
        return self._scorer

    def parts(self, waves: Sequence[np.ndarray], metadata: Sequence[Metadata], clap: np.ndarray | None) -> list[Part]:
        if len(metadata) != len(waves):
            raise ValueError(f"{len(waves)} waves but {len(metadata)} metadata")
        vocabulary, every = self.net.words.num_embeddings, self.options.long_clips != "first"
        out = []
        for clip, (wave, told) in enumerate(zip(waves, metadata, strict=True)):
            ids = metadata_ids(told, self._tokenizer, vocabulary, self.options.tag_spacing or PUBLISHED_SPACING)
            own = None if clap is None else clap[clip]
            out += [Part(clip, part, ids, own) for part in parts_of(wave, every=every)]
        return out

    @torch.inference_mode()
    def hear(self, parts: list[Part]) -> torch.Tensor:
        """The audio tower's tokens (B, 32, C)."""
        waves = torch.from_numpy(np.stack([part.wave for part in parts])).to(self.device)
        return self.net.hear(self._log_mel(waves))

    @torch.inference_mode()
    def bart_input(self, parts: list[Part]) -> tuple[torch.Tensor, torch.Tensor]:
        """What BART's encoder reads (B, S, D), and its mask (B, S)."""
        audio = self.net.query(self.hear(parts))
        clap = self._clap_of(parts)
        token = None if clap is None else self.net.clap_token(clap.to(audio.dtype))
        longest = max(len(part.ids) for part in parts) + 1
        length = longest if self.device == "cpu" else -(-longest // LENGTH_STEP) * LENGTH_STEP
        return self.net.bart_input(audio, [part.ids for part in parts], token, length=length)

    @torch.inference_mode()
    def _understand(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.net.understand(inputs, None if bool(mask.all()) else mask)

    def _clap_of(self, parts: list[Part]) -> torch.Tensor | None:
        if self.net.shape.clap_dim is None:
            return None
        if self.options.clap_token == "shared":
            return torch.from_numpy(np.stack([np.asarray(part.clap) for part in parts])).to(self.device)
        from scorer.clap import ClapScorer

        if not isinstance(self._scorer, ClapScorer) or self._scorer.sample_rate_hz != CLAP_RATE_HZ:
            raise CaptionerError("clap_token: reference needs `clap`: one of LAION's .pt files")
        waves = torch.from_numpy(np.stack([part.wave for part in parts])).to(self.device)
        return self._scorer.embed_windows(self._resample_for_clap(waves))

    def texts(self, ids_BT: torch.Tensor) -> list[str]:
        """Ids (B, T) as text, without special ones."""
        rows = [[i for i in row if i not in (PAD, BOS, EOS)] for row in ids_BT.tolist()]
        return [self._tokenizer.decode(row, clean_up_tokenization_spaces=False).strip() for row in rows]

    def _one(self, windows: list[Captioned]) -> Captioned:
        """The clip's caption from those of its windows."""
        if len(windows) == 1 or self.options.long_clips == "first":
            return windows[0]
        if self.options.long_clips == "likeliest":
            return max(windows, key=lambda said: said.logprob)
        return in_one(windows)


def in_passes(parts: list[Part], size: int) -> Iterator[list[Part]]:
    """Parts of like metadata length together, so that little is filled up; the order among equals is kept."""
    order = sorted(range(len(parts)), key=lambda at: len(parts[at].ids))
    for first in range(0, len(order), size):
        yield [parts[at] for at in order[first : first + size]]


def to_precision(net: AutoCapNet, precision: str) -> AutoCapNet:
    """bfloat16 for all but the spectrogram's normalisation."""
    if precision == "bfloat16":
        net.to(torch.bfloat16)
        net.tower.bn0.float()
        net.tower.prepare()
    return net


def load_autocap(
    model: str, device: str = "cpu", scorer: Scorer | None = None, options: CaptionerOptions | None = None
) -> AutoCap:
    """`model`: a checkpoint file, a folder or a repository on the Hub; CaptionerError says what is missing."""
    options = options or CaptionerOptions()
    try:
        path = find_file(model)
        state, sha256, card = read_weights(path)
        net = build(state, repeats_of(options, card))
    except WeightsError as error:
        raise CaptionerError(str(error)) from error
    scorer = its_clap(net, card, device, scorer, options)
    folder = path.parent if (path.parent / "tokenizer.json").is_file() and card else None
    return AutoCap(
        net, read_tokenizer(str(folder or options.bart)), model_id=str(card.get("model_id", Path(path).stem)),
        weights_sha256=sha256, device=device, scorer=scorer, clap_name=card.get("clap_model"),
        options=replace(options, tag_spacing=options.tag_spacing or card.get("tag_spacing")),
    )  # fmt: skip


def repeats_of(options: CaptionerOptions, card: Mapping[str, Any]) -> int:
    """How often each of the tower's 32 tokens is taken: as asked, else as it was trained, else as published."""
    if options.audio_tokens is not None:
        return options.audio_tokens // 32
    found = card.get("repeats", REPEATS)
    if found not in (1, REPEATS):
        raise WeightsError(f"its card.json says `repeats: {found!r}`; there are 1 and {REPEATS}")
    return int(found)


def its_clap(
    net: AutoCapNet, card: Mapping[str, Any], device: str, lent: Scorer | None, options: CaptionerOptions
) -> Scorer | None:
    """The CLAP that `options.clap` names; else the one lent, if it is the one whose embeddings the model takes."""
    wanted, width = card.get("clap_model"), net.shape.clap_dim
    scorer = lent
    if options.clap is not None:
        scorer = load_scorer(options.clap, device, torch.get_num_threads(), options.clap_options)
    if scorer is None or width is None:
        return None
    fault = None
    if scorer.embedding_dim != width:
        fault = f"makes vectors of {scorer.embedding_dim} numbers, this model takes {width}"
    elif wanted is not None and scorer_name(scorer) != wanted:
        fault = f"is not the CLAP that this model was trained with, {wanted}"
    if fault and options.clap is not None:
        raise CaptionerError(f"`clap`: {scorer_name(scorer)} {fault}")
    return None if fault else scorer


def read_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise CaptionerError(
            f"no tokenizer under {name!r}: name BART's folder or Hub name in `bart` ({error})"
        ) from error
