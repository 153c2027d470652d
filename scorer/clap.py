"""A published CLAP behind the scorer's face: HTS-AT for sounds, RoBERTa for texts, from LAION or transformers.

On a CPU clips go through one by one (a pass is big enough to fill the processor), on a GPU in batches of one fixed
size; texts in batches of one fixed size and a few fixed lengths, filled up. So the numbers of a clip or text do not
depend on its neighbours, and an embedding may be kept for the next clip with the same caption.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from scorer.clap_mel import FrontEnd, LogMel, front_end_of, fused_mel, laion_front_end, parts_of
from scorer.clap_weights import ClapWeights, fill_module, from_transformers, read_laion
from scorer.htsat import Htsat
from scorer.load import PUBLISHED_THRESHOLDS, ClapOptions, ScorerError
from scorer.windows import check, pool

GPU_BATCH = 64
TEXT_BATCH = 8
#: RoBERTa's tokens of one text, start and end included, as LAION's package cuts it.
MAX_TEXT_TOKENS = 77
#: Texts are padded to the first of these that holds them: few shapes, little waste (a caption has 10 to 20 tokens).
TEXT_LENGTHS = (16, 24, 32, 48, MAX_TEXT_TOKENS)
LAION_TOKENIZER = "roberta-base"


class Projection(nn.Module):
    """Into the common space: two layers, ReLU between."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, out)
        self.linear2 = nn.Linear(out, out)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.linear2(fn.relu(self.linear1(features))))


class ClapNet(nn.Module):
    """Both towers; `text_config` is transformers' ClapTextConfig."""

    def __init__(self, weights: ClapWeights, text_config: Any) -> None:
        super().__init__()
        from transformers import ClapTextModel

        self.audio = Htsat(weights.shape)
        self.audio_projection = Projection(weights.shape.out_width, weights.embedding_dim)
        self.text: Any = ClapTextModel(text_config)
        self.text_projection = Projection(int(text_config.hidden_size), weights.embedding_dim)
        fill_module(self.audio, weights.audio, "the audio tower")
        fill_module(self.text, weights.text, "the text tower", optional=r"embeddings\.(position|token_type)_ids")
        fill_module(self.audio_projection, weights.audio_projection, "the audio projection")
        fill_module(self.text_projection, weights.text_projection, "the text projection")
        self.eval()
        self.audio.prepare()

    def embed_mel(self, mel_BCTF: torch.Tensor) -> torch.Tensor:
        """(B, C, T, mels) dB -> (B, D) of unit length."""
        pooled = self.audio(mel_BCTF).mean(dim=1)
        return fn.normalize(self.audio_projection(pooled).float(), dim=-1)

    def embed_tokens(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        heard = self.text(input_ids=ids_BL, attention_mask=mask_BL).pooler_output
        return fn.normalize(self.text_projection(heard).float(), dim=-1)


class ClapScorer:
    """See scorer.load.Scorer. `options` must be complete: no None where the release has a default."""

    def __init__(
        self,
        net: ClapNet,
        tokenizer: Any,
        front_end: FrontEnd,
        *,
        model_id: str,
        weights_sha256: str,
        device: str,
        options: ClapOptions,
    ) -> None:
        if options.long_clips == "fusion" and not net.audio.shape.fusion:
            raise ScorerError(f"long_clips: fusion needs a fusion checkpoint; {model_id} is none")
        if net.audio.shape.mels != front_end.mel_filters.shape[1]:
            raise ScorerError(f"{model_id}: a tower of {net.audio.shape.mels} mel bands, a front end of other size")
        self.model_id, self.weights_sha256, self.device = model_id, weights_sha256, device
        self.sample_rate_hz, self.window_s = front_end.sample_rate_hz, front_end.window_s
        self.embedding_dim = net.audio_projection.linear2.out_features
        self.preset_thresholds: Mapping[str, float] = dict(PUBLISHED_THRESHOLDS)
        self.options = options
        self.net, self._tokenizer = net.to(device), tokenizer
        self.log_mel = LogMel(front_end).to(device)
        self._window_samples = front_end.window_samples
        self._frames = front_end.window_samples // front_end.hop_size + 1
        self._batch = options.batch or (1 if device == "cpu" else GPU_BATCH)
        self._pad = int(tokenizer.pad_token_id)

    @torch.inference_mode()
    def embed_audio(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        per_clip = [parts_of(check(wave), self._window_samples, self.options) for wave in waves]
        parts = [part for of_clip in per_clip for part in of_clip]
        vectors = np.zeros((len(parts), self.embedding_dim), dtype=np.float32)
        for fused in (False, True):
            rows = [row for row, part in enumerate(parts) if (part.size > self._window_samples) == fused]
            for first in range(0, len(rows), self._batch):
                chunk = rows[first : first + self._batch]
                vectors[chunk] = self._hear([parts[row] for row in chunk], fused)[: len(chunk)]
        out, at = np.zeros((len(waves), self.embedding_dim), dtype=np.float32), 0
        for row, of_clip in enumerate(per_clip):
            out[row] = pool(list(vectors[at : at + len(of_clip)]))
            at += len(of_clip)
        return out

    @torch.inference_mode()
    def embed_windows(self, waves_BN: torch.Tensor) -> torch.Tensor:
        """(B, window samples) on the model's device, heard as they are -> (B, D): for who prepares clips otherwise."""
        with self._precision():
            return self.net.embed_mel(self.log_mel(waves_BN).unsqueeze(1))

    def _hear(self, chunk: list[np.ndarray], fused: bool) -> np.ndarray:
        """Up to a batch of parts -> a whole batch of vectors; rows without a part are filled up and mean nothing."""
        mel = torch.stack([self._fused_mel(part) for part in chunk]) if fused else self._mel(chunk)
        mel = fn.pad(mel, (0, 0, 0, 0, 0, 0, 0, self._batch - len(chunk)))
        with self._precision():
            vectors = self.net.embed_mel(mel)
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)

    def _mel(self, chunk: list[np.ndarray]) -> torch.Tensor:
        return torch.as_tensor(self.log_mel(torch.from_numpy(np.stack(chunk)).to(self.device)).unsqueeze(1))

    def _fused_mel(self, part: np.ndarray) -> torch.Tensor:
        return fused_mel(self.log_mel(torch.from_numpy(part)[None].to(self.device))[0], self._frames)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), self.embedding_dim), dtype=np.float32)
        for rows, length, ids in self._text_batches(texts):
            tokens = torch.full((TEXT_BATCH, length), self._pad)
            tokens[:, :2] = torch.tensor(ids[0][:2])  # a row without a text is filled up with the first one's start
            mask = torch.zeros_like(tokens)
            mask[:, :2] = 1
            for row, one in enumerate(ids):
                tokens[row, : len(one)] = torch.tensor(one)
                mask[row, : len(one)] = 1
            with self._precision():
                vectors = self.net.embed_tokens(tokens.to(self.device), mask.to(self.device))
            out[rows] = vectors[: len(rows)].cpu().numpy()
        return out

    def _text_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], int, list[list[int]]]]:
        """Rows, padded length and token ids of each batch: texts of like length together."""
        ids = [self._tokenizer(text, truncation=True, max_length=MAX_TEXT_TOKENS)["input_ids"] for text in texts]
        lengths = [next(length for length in TEXT_LENGTHS if length >= len(one)) for one in ids]
        for length in TEXT_LENGTHS:
            rows = [row for row, found in enumerate(lengths) if found == length]
            for first in range(0, len(rows), TEXT_BATCH):
                chunk = rows[first : first + TEXT_BATCH]
                yield chunk, length, [ids[row] for row in chunk]

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.options.precision == "bfloat16")


def load_laion(path: Path, device: str, options: ClapOptions) -> ClapScorer:
    """One of LAION's .pt files, e.g. music_speech_audioset_epoch_15_esc_89.98.pt."""
    from transformers import ClapTextConfig

    weights, sha256 = read_laion(path)
    text = weights.text
    hidden = text["embeddings.word_embeddings.weight"].shape[1]
    layers = {name.split(".")[2] for name in text if name.startswith("encoder.layer.")}
    config = ClapTextConfig(
        vocab_size=len(text["embeddings.word_embeddings.weight"]),
        hidden_size=hidden,
        num_hidden_layers=len(layers),
        num_attention_heads=max(hidden // 64, 1),
        intermediate_size=len(text["encoder.layer.0.intermediate.dense.weight"]),
        max_position_embeddings=len(text["embeddings.position_embeddings.weight"]),
        type_vocab_size=len(text["embeddings.token_type_embeddings.weight"]),
        layer_norm_eps=1e-5,
        projection_dim=weights.embedding_dim,
    )
    tokenizer = _tokenizer(options.tokenizer or LAION_TOKENIZER)
    if len(tokenizer) > config.vocab_size:
        raise ScorerError(f"tokenizer {options.tokenizer or LAION_TOKENIZER!r} has more pieces than {path} has rows")
    complete = _complete(options, filling="repeatpad", int16_rounding=True)
    return ClapScorer(
        ClapNet(weights, config), tokenizer, laion_front_end(fusion=weights.shape.fusion),
        model_id=_named(path.stem, options), weights_sha256=sha256, device=device, options=complete,
    )  # fmt: skip


def load_hub(model: str, device: str, options: ClapOptions) -> ClapScorer:
    """A ClapModel of transformers with its feature extractor and tokenizer, from a folder or the Hub."""
    from transformers import ClapFeatureExtractor, ClapModel

    try:
        loaded: Any = ClapModel.from_pretrained(model)
        extractor = ClapFeatureExtractor.from_pretrained(model)
        tokenizer = _tokenizer(options.tokenizer or model)
    except (OSError, ValueError) as error:
        raise ScorerError(
            f"no CLAP under {model!r}: give 'embedded', a folder with card.json, a transformers ClapModel (folder or "
            f"Hub name, with feature extractor and tokenizer), or one of LAION's .pt files ({error})"
        ) from error
    weights = from_transformers(loaded)
    filling = extractor.padding if extractor.padding in ("repeatpad", "repeat", "pad") else "repeatpad"
    name = Path(model).name if Path(model).is_dir() else model
    return ClapScorer(
        ClapNet(weights, loaded.config.text_config), tokenizer, front_end_of(extractor),
        model_id=_named(name, options), weights_sha256=hash_weights(model), device=device,
        options=_complete(options, filling=filling, int16_rounding=False),
    )  # fmt: skip


def _tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer: Any
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ScorerError(f"no tokenizer under {name!r}: name a folder or Hub name in `tokenizer` ({error})") from error
    return tokenizer


def _complete(options: ClapOptions, *, filling: Any, int16_rounding: bool) -> ClapOptions:
    return replace(
        options,
        filling=options.filling or filling,
        int16_rounding=int16_rounding if options.int16_rounding is None else options.int16_rounding,
    )


def _named(name: str, options: ClapOptions) -> str:
    """The model's name with every option that makes its scores another scale."""
    return name + "".join(f"+{key}={value}" for key, value in sorted(options.changed().items()))


def hash_weights(model: str) -> str:
    """SHA-256 over the model's weight files, in name order: safetensors, or else PyTorch's own."""
    from transformers.utils import cached_file

    folder = Path(model)
    if folder.is_dir():
        files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    else:
        names = ("model.safetensors", "pytorch_model.bin")
        found = [cached_file(model, name, _raise_exceptions_for_missing_entries=False) for name in names]
        files = [Path(file) for file in found if file][:1]
    if not files:
        raise ScorerError(f"{model!r} has no weight file that could be hashed: model.safetensors is wanted")
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return digests[0].hex() if len(digests) == 1 else hashlib.sha256(b"".join(digests)).hexdigest()
