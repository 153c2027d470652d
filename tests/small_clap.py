"""Tiny random CLAPs as they are published: a transformers folder, and the same weights as one of LAION's .pt files."""

import re

import numpy as np
import torch

from scorer.tokens import make_tokenizer

WIDTH, EMBEDDING_DIM = 32, 24


def small_tokenizer(folder):
    from tokenizers.processors import RobertaProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = make_tokenizer(["a dog barks", "water runs"], 300, ("<s>", "<pad>", "</s>", "<unk>", "<mask>"))
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def small_model(*, fusion=False, seed=0):
    """A ClapModel with HTS-AT's real window, mel and picture, but narrow; no weight is at its start value."""
    from transformers import ClapConfig, ClapModel

    text = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1,
            "intermediate_size": 64, "pad_token_id": 1, "max_position_embeddings": 514, "type_vocab_size": 1,
            "layer_norm_eps": 1e-5, "projection_dim": EMBEDDING_DIM}  # fmt: skip
    audio = {"patch_embeds_hidden_size": WIDTH, "depths": [2, 2, 2, 2], "num_attention_heads": [1, 2, 4, 8],
             "hidden_size": 8 * WIDTH, "projection_dim": EMBEDDING_DIM, "enable_fusion": fusion,
             "fusion_type": "aff_2d" if fusion else None}  # fmt: skip
    torch.manual_seed(seed)
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=EMBEDDING_DIM)).eval()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor += torch.rand_like(tensor) * 0.1 if "running_var" in name else torch.randn_like(tensor) * 0.05
    return model


def save_folder(model, folder):
    from transformers import ClapFeatureExtractor

    fusion = model.config.audio_config.enable_fusion
    model.save_pretrained(folder)
    truncation = "fusion" if fusion else "rand_trunc"
    ClapFeatureExtractor(frequency_min=50, truncation=truncation).save_pretrained(folder)
    small_tokenizer(folder)


BACK = (
    ("audio_model.audio_encoder.", "audio_branch."), ("batch_norm.", "bn0."),
    ("attention.self.relative", "attn.relative"), ("attention.output.dense", "attn.proj"),
    ("intermediate.dense", "mlp.fc1"), ("output.dense", "mlp.fc2"),
    ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
)  # fmt: skip


def laion_state(model):
    """The names of LAION's training checkpoints, with what those hold beside the model."""
    theirs, state = model.state_dict(), {}
    for name, value in theirs.items():
        ours = name.replace("text_model.", "text_branch.").replace("linear1", "0").replace("linear2", "2")
        if name.startswith("audio_model."):
            if re.search(r"self\.(key|value)\.", name):
                continue
            if "self.query." in name:
                value = torch.cat([theirs[name.replace("query", part)] for part in ("query", "key", "value")])
                ours = ours.replace("attention.self.query", "attn.qkv")
            for old, new in BACK:
                ours = ours.replace(old, new)
        state[f"module.{ours}"] = value.clone()
    state["module.audio_branch.tscam_conv.weight"] = torch.zeros(5, 8 * WIDTH, 2, 3)
    state["module.audio_transform.sequential.0.weight"] = torch.zeros(4, 4)
    state["module.audio_branch.spectrogram_extractor.stft.conv_real.weight"] = torch.zeros(513, 1, 4)
    return state


def save_laion(model, path):
    torch.save({"epoch": 15, "state_dict": laion_state(model), "best": np.float64(0.5)}, path)
