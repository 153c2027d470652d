"""The small captioner that comes with the project, behind the captioner's face.

On a CPU clips go through one by one, on a GPU in batches of one fixed size; inputs always have one fixed length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from captioner.load import Captioned, Metadata
from captioner.model import CAPTION_TOKENS, TEXT_TOKENS, SmallCaptioner
from captioner.prompt import BOS, EOS, PAD, prompt
from scorer.embedded import EmbeddedScorer, in_chunks
from scorer.features import SAMPLE_RATE_HZ
from scorer.load import Scorer, load_scorer
from scorer.load import model_name as scorer_name
from scorer.tokens import encode, load_tokenizer
from scorer.weights import TOKENIZER_FILE, WeightsError, fill, read_card

KIND = "autorecap-small-captioner"
GPU_BATCH = 64
#: Per pass: what BART's encoder made of the clips, its mask, and how many of the rows are clips.
Encoded = list[tuple[torch.Tensor, torch.Tensor, int]]


class EmbeddedCaptioner:
    """See captioner.load.Captioner."""

    sample_rate_hz = SAMPLE_RATE_HZ
    min_samples = 1

    def __init__(
        self, folder: Path, device: str = "cpu", scorer: Scorer | None = None, batch: int | None = None
    ) -> None:
        card = read_card(folder, KIND)
        self.model_id = str(card["model_id"])
        self.weights_sha256 = str(card["weights_sha256"])
        self.device = device
        self._batch = batch or (1 if device == "cpu" else GPU_BATCH)
        self._ears = ears(card["audio_tower_sha256"], device, scorer)
        self.clap_name: str | None = scorer_name(self._ears)
        self._tokenizer = load_tokenizer(folder / TOKENIZER_FILE)
        net = SmallCaptioner(self._tokenizer.get_vocab_size())
        fill(net, folder)
        self._net = net.eval().to(device)

    def encode(
        self,
        waves: Sequence[np.ndarray],
        *,
        metadata: Sequence[Metadata] | None = None,
        clap_embeddings: np.ndarray | None = None,
    ) -> Encoded:
        """A clip longer than the window is heard by its first window."""
        tokens, own = self._ears.hear(waves)
        clap = own if clap_embeddings is None else np.asarray(clap_embeddings, dtype=np.float32)
        if clap.shape != own.shape:
            raise ValueError(f"clap_embeddings have shape {clap.shape}, wanted {own.shape} of this project's scorer")
        text = self._read(metadata or [Metadata()] * len(waves), len(waves))
        chunks: Encoded = []
        for _, chunk in in_chunks(range(len(waves)), self._batch):
            rows = [*chunk, *[chunk[0]] * (self._batch - len(chunk))]  # filled up to the fixed size
            heard = torch.from_numpy(tokens[rows]), torch.from_numpy(clap[rows]), text[rows]
            chunks.append((*self._understand(*heard), len(chunk)))
        return chunks

    def say(self, encoded: Encoded, *, beams: int = 2) -> list[Captioned]:
        return [said for states, mask, clips in encoded for said in self._speak(states, mask, beams)[:clips]]

    def caption(
        self,
        waves: Sequence[np.ndarray],
        *,
        metadata: Sequence[Metadata] | None = None,
        clap_embeddings: np.ndarray | None = None,
        beams: int = 2,
    ) -> list[Captioned]:
        return self.say(self.encode(waves, metadata=metadata, clap_embeddings=clap_embeddings), beams=beams)

    def _read(self, metadata: Sequence[Metadata], clips: int) -> torch.Tensor:
        if len(metadata) != clips:
            raise ValueError(f"{clips} waves but {len(metadata)} metadata")
        ids = torch.full((clips, TEXT_TOKENS), PAD)
        found = encode(self._tokenizer, [prompt(m) for m in metadata], TEXT_TOKENS)
        ids[:, : found.shape[1]] = found
        return ids

    @torch.inference_mode()
    def _understand(
        self, tokens_BKC: torch.Tensor, clap_BD: torch.Tensor, text_BL: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        to = self.device
        inputs, mask = self._net.encoder_input(tokens_BKC.to(to), clap_BD.to(to), text_BL.to(to))
        return self._net.bart.get_encoder()(inputs_embeds=inputs, attention_mask=mask).last_hidden_state, mask

    @torch.inference_mode()
    def _speak(self, encoded: torch.Tensor, mask: torch.Tensor, beams: int) -> list[Captioned]:
        from transformers.modeling_outputs import BaseModelOutput

        ids = self._net.bart.generate(
            encoder_outputs=BaseModelOutput(encoded),  # generate repeats it in place, once per beam
            attention_mask=mask,
            num_beams=beams,
            max_new_tokens=CAPTION_TOKENS,
            do_sample=False,
            early_stopping=beams > 1,
            length_penalty=1.0,
            no_repeat_ngram_size=0,
        )
        logits = self._net.bart(
            encoder_outputs=BaseModelOutput(encoded),
            attention_mask=mask,
            decoder_input_ids=ids[:, :-1],
            use_cache=False,
        ).logits.float()
        chosen = logits.log_softmax(dim=2).gather(2, ids[:, 1:, None])[..., 0]
        ends = (ids[:, 1:] == EOS).long()
        spoken = (ends.cumsum(dim=1) - ends == 0).float()  # up to the first end: what follows is filling
        mean = (chosen * spoken).sum(dim=1) / spoken.sum(dim=1)
        return [
            Captioned(self._tokenizer.decode([i for i in row if i not in (PAD, BOS, EOS)]).strip(), round(float(p), 4))
            for row, p in zip(ids.tolist(), mean, strict=True)
        ]


def ears(wanted_sha256: str, device: str, scorer: Scorer | None) -> EmbeddedScorer:
    """The scorer whose audio tower the captioner was trained on: the one lent if it is that one, else our own."""
    if not (isinstance(scorer, EmbeddedScorer) and scorer.device == device):
        scorer = load_scorer("embedded", device, torch.get_num_threads())
    if not isinstance(scorer, EmbeddedScorer) or scorer.weights_sha256 != wanted_sha256:
        raise WeightsError(
            f"this captioner was trained on the audio tower {wanted_sha256[:12]}, "
            f"the scorer at hand is {scorer.weights_sha256[:12]}: train it anew with captioner.train"
        )
    return scorer
