"""The small captioner that comes with the project, behind the captioner's face.

What is said is chosen among the beams and the namer's likeliest names as clauses: the one to which BART and the namer
together give the highest probability. On a CPU clips go through one by one, on a GPU in batches of one fixed size;
inputs always have one fixed length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from captioner.autocap.beam import Rules, all_beams
from captioner.autocap.decoder import Decoder
from captioner.load import Captioned, Captioner, Metadata
from captioner.model import CAPTION_TOKENS, TEXT_TOKENS, SmallCaptioner
from captioner.prompt import BOS, EOS, PAD, prompt
from scorer.embedded import EmbeddedScorer, in_chunks
from scorer.features import SAMPLE_RATE_HZ
from scorer.load import Scorer, load_scorer
from scorer.load import model_name as scorer_name
from scorer.sentences import clause
from scorer.tokens import encode, load_tokenizer
from scorer.weights import TOKENIZER_FILE, WeightsError, fill, read_card

RULES = Rules(first=(BOS,), pad=PAD, end=EOS, max_length=1 + CAPTION_TOKENS, triples_once=False)
KIND = "autorecap-small-captioner"
GPU_BATCH = 64
#: How many names stand for election beside the beams, what the namer's log probability weighs beside BART's, and what
#: it is taken for where a beam begins with no name. Chosen on recordings of packages that neither train nor measure;
#: the weight on wesnoth and 7kaa, too.
NAMES_SAID, NAME_WEIGHT, NO_NAME = 4, 1.0, -9.0


class Chunk(NamedTuple):
    """The clips of one pass as the decoder needs them."""

    states: torch.Tensor  # (B, 73, W) from BART's encoder
    mask: torch.Tensor  # (B, 73)
    named: torch.Tensor  # (B, K) log probabilities of the names
    clips: int  # rows that are clips; the others fill the pass up


Encoded = list[Chunk]


class EmbeddedCaptioner(Captioner):
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
        said = [encoding.ids for encoding in self._tokenizer.encode_batch([clause(name) for name in card["names"]])]
        self._names_said = [ids[:CAPTION_TOKENS] for ids in said]
        self._names_of: dict[str, list[int]] = {}
        for number, ids in enumerate(self._names_said):
            self._names_of.setdefault(self._text(ids), []).append(number)
        net = SmallCaptioner(self._tokenizer.get_vocab_size(), len(card["names"]))
        fill(net, folder)
        self._net = net.eval().to(device)
        self._decoder = Decoder(net.bart)

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
            chunks.append(Chunk(*self._understand(*heard), len(chunk)))
        return chunks

    def say(self, encoded: Encoded, *, beams: int = 2) -> list[Captioned]:
        return [said for chunk in encoded for said in self._speak(chunk, beams)[: chunk.clips]]

    def _read(self, metadata: Sequence[Metadata], clips: int) -> torch.Tensor:
        if len(metadata) != clips:
            raise ValueError(f"{clips} waves but {len(metadata)} metadata")
        ids = torch.full((clips, TEXT_TOKENS), PAD)
        found = encode(self._tokenizer, [prompt(m) for m in metadata], TEXT_TOKENS)
        ids[:, : found.shape[1]] = found
        return ids

    @torch.inference_mode()
    def _understand(
        self, tokens_BTC: torch.Tensor, clap_BD: torch.Tensor, text_BL: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        to = self.device
        clap_BD = clap_BD.to(to)
        heard = self._net.listener(tokens_BTC.to(to))
        named = self._net.namer(heard.summary, clap_BD)
        inputs, mask = self._net.encoder_input(heard.tokens, clap_BD, named, text_BL.to(to))
        return self._net.bart.encode(inputs, mask), mask, named

    @torch.inference_mode()
    def _speak(self, chunk: Chunk, beams: int) -> list[Captioned]:
        ids = all_beams(self._decoder, chunk.states, chunk.mask, beams, rules=RULES).ids.flatten(0, 1)
        spoken = [[i for i in row if i not in (PAD, BOS, EOS)] for row in ids.tolist()]
        likeliest = chunk.named.topk(NAMES_SAID, dim=1).indices.tolist()
        candidates = [
            [*spoken[row * beams : (row + 1) * beams], *(self._names_said[name] for name in names)]
            for row, names in enumerate(likeliest)
        ]
        return [
            self._elect(said, totals, named)
            for said, totals, named in zip(
                candidates, self._likelihoods(chunk, candidates), chunk.named.tolist(), strict=True
            )
        ]

    def _likelihoods(self, chunk: Chunk, candidates: list[list[list[int]]]) -> list[list[float]]:
        """BART's log probability of each clip's candidates, their ends included."""
        longest = max(len(ids) for said in candidates for ids in said)
        wanted = torch.full((len(candidates), len(candidates[0]), 1 + longest), PAD)
        for row, said in enumerate(candidates):
            for column, ids in enumerate(said):
                wanted[row, column, : len(ids) + 1] = torch.tensor([*ids, EOS])
        wanted = wanted.to(self.device)
        read = torch.cat([torch.full_like(wanted[..., :1], BOS), wanted[..., :-1]], dim=2)
        logits = self._decoder.read(chunk.states, chunk.mask, read).float()
        chosen = logits.log_softmax(dim=3).gather(3, wanted[..., None])[..., 0]
        totals: list[list[float]] = (chosen * (wanted != PAD)).sum(dim=2).tolist()
        return totals

    def _elect(self, said: list[list[int]], totals: list[float], named: list[float]) -> Captioned:
        texts = [self._text(ids) for ids in said]
        votes = [total + NAME_WEIGHT * self._name_of(text, named) for text, total in zip(texts, totals, strict=True)]
        best = votes.index(max(votes))
        return Captioned(texts[best], round(totals[best] / (len(said[best]) + 1), 4))

    def _name_of(self, text: str, named: list[float]) -> float:
        """The log probability of the name that a caption begins with."""
        first = re.split(r" while |, then ", text, maxsplit=1)[0]
        return max((named[name] for name in self._names_of.get(first, ())), default=NO_NAME)

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids)).strip()


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
