"""Run by the Python of `make laion-env`: random models of LAION's own package, as .pt files, and what it hears.

    python reference.py WORK: WORK/wave-*.npy, texts.json, tokenizer/ in; NAME.pt and NAME.npz out

There is no network, and no torchvision or torchaudio for this CPU build: those are stubs, RoBERTa is small and random.
"""

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

MODELS = {"tiny": ("HTSAT-tiny", False), "tiny-fusion": ("HTSAT-tiny", True), "base": ("HTSAT-base", False)}


class Anything(types.ModuleType):
    """A module in which every name is a class that does nothing."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {"__init__": lambda self, *args, **kwargs: None})


def stub_torchvision():
    for name in ("", ".transforms", ".datasets", ".ops", ".ops.misc"):
        module = Anything(f"torchvision{name}")
        module.__path__ = []
        sys.modules[f"torchvision{name}"] = module


def stub_roberta(tokenizer_folder):
    import transformers

    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer), num_hidden_layers=2, intermediate_size=256, max_position_embeddings=514,
        type_vocab_size=1, pad_token_id=tokenizer.pad_token_id, layer_norm_eps=1e-5,
    )  # fmt: skip
    transformers.RobertaModel.from_pretrained = classmethod(lambda cls, name: cls(config))
    for name in ("RobertaTokenizer", "BertTokenizer", "BartTokenizer"):
        getattr(transformers, name).from_pretrained = classmethod(lambda cls, name: tokenizer)


def stub_torchaudio():
    """Fusion models take their mel from torchaudio, which has no CPU build here either: transformers' stands in."""
    import laion_clap.training.data as data
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor(frequency_min=50)

    def get_mel(wave, audio_cfg):
        mel = extractor._np_extract_fbank_features(wave.numpy().astype(np.float64), extractor.mel_filters)
        return torch.from_numpy(mel).float()

    data.get_mel = get_mel


def main(work):
    stub_roberta(work / "tokenizer")  # first: transformers asks for torchvision when it is imported
    stub_torchvision()
    stub_torchaudio()
    from laion_clap import CLAP_Module

    from scorer.load import load_scorer

    waves = [np.load(path) for path in sorted(work.glob("wave-*.npy"))]
    texts = json.loads((work / "texts.json").read_text())
    for seed, (name, (tower, fusion)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = CLAP_Module(enable_fusion=fusion, amodel=tower, device="cpu").model
        for tensor in (*model.parameters(), *(b for n, b in model.named_buffers() if "running" in n)):
            if (tensor.is_floating_point() and tensor.requires_grad) or "running" in name:
                tensor.data.add_(0.02 * torch.randn_like(tensor))
        state = {f"module.{key}": value for key, value in model.state_dict().items()}
        state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]  # as the published files have it
        torch.save({"epoch": 15, "name": name, "state_dict": state, "best": np.float64(0.5)}, work / f"{name}.pt")
        scorer = load_scorer(f"laion-clap:{work / name}.pt")
        np.savez(work / f"{name}.npz", audio=scorer.embed_audio(waves), text=scorer.embed_text(texts))
        print(name, scorer.model_id, scorer.weights_sha256)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
