"""A tiny AutoCap as it is published: a Lightning checkpoint, a BART folder with tokenizer, and LAION's CLAP file."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from captioner.autocap.net import AutoCapNet
from captioner.autocap.shape import AutoCapShape
from scorer.htsat import HtsatShape
from tests.small_clap import EMBEDDING_DIM, save_laion, small_model

VOCABULARY, WIDTH = 300, 64
#: Weights through which sound and title reach the words: strong, so that captions differ.
LISTENS = r"encoder_attn\.(v|out|q)_proj\.weight|audio_qformer_proj\.weight|clap_proj\.weight|crossattention.*value"
TEXTS = ["a dog barks while water runs", "My dog at the lake", "rain falls on a roof"]


@dataclass(frozen=True)
class SmallAutoCap:
    checkpoint: Path  # autocap-full.ckpt
    bart: Path  # a folder with config.json and the tokenizer's files
    clap: Path  # one of LAION's .pt files
    clap_tokenizer: Path


def small_shape():
    tower = HtsatShape(width=16, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8))
    return AutoCapShape(
        tower=tower, queries=16, query_width=32, query_layers=2, query_inner=48, special_tokens=12, positions=1026,
        clap_dim=EMBEDDING_DIM,
    )  # fmt: skip


def small_config():
    from transformers import BartConfig

    return BartConfig(
        vocab_size=VOCABULARY, d_model=WIDTH, encoder_layers=2, decoder_layers=2, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=96, decoder_ffn_dim=96, max_position_embeddings=256,
    )  # fmt: skip


def small_net(seed=0):
    """Random weights, none at its start value, large enough that captions differ by clip."""
    torch.manual_seed(seed)
    net = AutoCapNet(small_shape(), small_config()).eval()
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor += torch.rand_like(tensor) * 0.1 if "running_var" in name else torch.randn_like(tensor) * 0.08
            if re.search(LISTENS, name):
                tensor *= 4
    net.decoder.tie_weights()
    net.tower.prepare()
    return net


def published_state(net):
    """The names of the published file, with what it holds beside what captions."""
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for name in [n for n in state if n.startswith("decoder.")]:
        state[f"special_tokens_embed.{name.removeprefix('decoder.')}"] = state[name]
    state["encoder.audio_enc.tscam_conv.weight"] = torch.zeros(5, 128, 2, 3)
    state["encoder.audio_enc.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(64, 64, dtype=torch.long)
    state["clap_model.model.logit_scale_a"] = torch.zeros(())
    state["audio_clap_resampler.kernel"] = torch.zeros(3, 1, 16)
    return state


def save_bart(folder):
    """Config and a byte-level BPE as BART has it (blanks are kept), with its special ids: <s> 0, <pad> 1, </s> 2."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=pieces, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    small_config().save_pretrained(folder)


def save_small_autocap(folder, seed=0):
    """All of it under `folder`."""
    from tests.small_clap import small_tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    found = SmallAutoCap(folder / "autocap-full.ckpt", folder / "bart", folder / "clap.pt", folder / "clap-tokenizer")
    torch.save({"epoch": 20, "global_step": 1, "state_dict": published_state(small_net(seed))}, found.checkpoint)
    save_bart(found.bart)
    save_laion(small_model(), found.clap)
    small_tokenizer(found.clap_tokenizer)
    return found


def options(small, **more):
    from captioner.load import CaptionerOptions
    from scorer.load import ClapOptions

    clap = ClapOptions(tokenizer=str(small.clap_tokenizer))
    return CaptionerOptions(clap=str(small.clap), clap_options=clap, bart=str(small.bart), **more)
