"""The network that a training begins with, and its tokenizer: an AutoCap, HTSAT and BART put together, or a small one.

What no file brings is drawn as the paper's code draws it: queries and Q-Former from N(0, 0.02), positions of the sound
as a copy of BART's, tags as BART's BOS (opening) and EOS (closing).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captioner.autocap.captioner import read_tokenizer
from captioner.autocap.checkpoint import build, find_file, read_weights
from captioner.autocap.net import BOS, EOS, AutoCapNet
from captioner.autocap.prompt import TAGS
from captioner.autocap.shape import AutoCapShape
from captioner.autocap.train_recipe import SmallSizes, TrainRecipe
from scorer.clap_weights import fill_module
from scorer.htsat import HtsatShape
from scorer.torch_file import read_state
from scorer.weights import TOKENIZER_FILE, WeightsError
from training.errors import TrainError

TOWER = HtsatShape(width=96, depths=(2, 2, 6, 2), heads=(4, 8, 16, 32))
PUBLISHED_CLAP_DIM = 512
#: What else is in HTSAT.ckpt: its front end, AudioSet's classifier, tables that are worked out anew.
_NOT_THE_TOWER = re.compile(
    r"(spectrogram_extractor|logmel_extractor|tscam_conv|head|spec_augmenter)\..*"
    r"|.*(relative_position_index|attn_mask|num_batches_tracked)"
)
_STD = 0.02


def start(
    recipe: TrainRecipe, clap_dim: int | None, captions: Iterable[str], resumed: Path | None = None
) -> tuple[AutoCapNet, Any]:
    """Net in float32 and tokenizer; those of the checkpoint `resumed` if there is one.

    `clap_dim`: the scorer's, if the recipe names one; a small net's tokenizer is made of `captions`. TrainError and
    CaptionerError say what cannot be had.
    """
    torch.manual_seed(recipe.seed)
    origin = recipe.start
    try:
        if resumed is not None:
            net, tokenizer = _from_checkpoint(str(resumed), origin.bart)
        elif origin.checkpoint is not None:
            net, tokenizer = _from_checkpoint(origin.checkpoint, origin.bart)
        elif origin.small is not None:
            net, tokenizer = _small(origin.small, clap_dim, captions)
        elif origin.htsat is not None:
            net, tokenizer = _from_parts(origin.htsat, origin.bart, clap_dim or PUBLISHED_CLAP_DIM)
        else:
            raise TrainError("start: name a checkpoint, or htsat (the audio tower's weights), or small (from nothing)")
    except WeightsError as error:
        raise TrainError(f"start: {error}") from error
    set_bart_dropout(net, recipe.augment.bart_dropout)
    return net, tokenizer


def _from_checkpoint(model: str, bart: str) -> tuple[AutoCapNet, Any]:
    path = find_file(model)
    state, _, card = read_weights(path)
    own = (path.parent / TOKENIZER_FILE).is_file()
    return build(state, int(card.get("repeats", 32))), read_tokenizer(str(path.parent) if own else bart)


def _from_parts(htsat: str, bart: str, clap_dim: int) -> tuple[AutoCapNet, Any]:
    from transformers import BartForConditionalGeneration

    try:
        words = BartForConditionalGeneration.from_pretrained(bart)
    except (OSError, ValueError) as error:
        raise TrainError(f"start.bart: no BART under {bart!r} ({error})") from error
    shape = AutoCapShape(
        tower=TOWER, queries=256, query_width=256, query_layers=2, query_inner=3072, special_tokens=2 * len(TAGS),
        positions=words.config.max_position_embeddings + 2, clap_dim=clap_dim,
    )  # fmt: skip
    net = AutoCapNet(shape, words.config)
    net.decoder.load_state_dict(words.state_dict())
    draw(net)
    state, _ = read_state(Path(htsat), ("state_dict", "model"))
    named = {name.removeprefix("sed_model."): value for name, value in state.items()}
    tower = {name: value.float() for name, value in named.items() if not _NOT_THE_TOWER.fullmatch(name)}
    fill_module(net.tower, tower, "HTSAT")
    return net.eval(), read_tokenizer(bart)


def _small(sizes: SmallSizes, clap_dim: int | None, captions: Iterable[str]) -> tuple[AutoCapNet, Any]:
    from transformers import BartConfig

    tokenizer = make_tokenizer(captions, sizes.vocabulary)
    width = sizes.width
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=width, max_position_embeddings=1024,
        encoder_layers=sizes.layers, decoder_layers=sizes.layers, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
        encoder_attention_heads=width // 64, decoder_attention_heads=width // 64, init_std=width**-0.5,
    )  # fmt: skip
    heads = tuple(max(1, sizes.tower_width * 2**at // 8) for at in range(4))
    shape = AutoCapShape(
        tower=HtsatShape(width=sizes.tower_width, depths=tuple(sizes.tower_depths), heads=heads),
        queries=sizes.queries, query_width=sizes.query_width, query_layers=sizes.query_layers,
        query_inner=4 * sizes.query_width, special_tokens=2 * len(TAGS), positions=1026, clap_dim=clap_dim,
    )  # fmt: skip
    net = AutoCapNet(shape, config)
    # BERT's 0.02 is for widths of 768: at a fraction of it next to nothing of the sound would come through.
    draw(net, sizes.query_width**-0.5)
    return net.eval(), tokenizer


@torch.no_grad()
def draw(net: AutoCapNet, std: float = _STD) -> None:
    """What joins the tower and BART, which are there or are drawn by their own classes."""
    nn.init.normal_(net.audio_query_tokens, std=_STD)
    for module in net.audio_Qformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            nn.init.zeros_(module.bias)
    positions = net.decoder.model.encoder.embed_positions.weight
    net.audio_position_embedding.weight[: len(positions)] = positions[: len(net.audio_position_embedding.weight)]
    tags = net.special_tokens_embed["special_token_embed"].weight
    tags[0::2], tags[1::2] = net.words.weight[BOS], net.words.weight[EOS]  # type: ignore[operator]


def make_tokenizer(captions: Iterable[str], vocabulary: int) -> Any:
    """A tokenizer of BART's kind (byte-level, ids 0 <s>, 1 <pad>, 2 </s>, 3 <unk>) whose pieces are of these texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator(captions, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def set_bart_dropout(net: AutoCapNet, share: float) -> None:
    """bart-base's own 0.1 on hidden states, attention and activations; a configuration read from sizes has none."""
    for module in net.decoder.modules():
        for name in ("dropout", "activation_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, share)
