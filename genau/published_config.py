"""The YAML of a published checkpoint: what its tensors cannot tell. Nothing in it is run or opened.

    config = read_config(Path("genau-full-l.yaml"))
    config.fit            # {"patch": 1, "group": 32, "head_width": 64}

Its tags `!module` and `!include` name classes and files of the reference's; here they are words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from genau.card import ScheduleCard
from genau.mel import HOP, MELS, SAMPLE_RATE_HZ
from generation.conditioners.datasets import PUBLISHED
from scorer.weights import WeightsError

LARGEST_BYTES = 1_000_000

#: Where the YAML says something about what is fixed here: it must say the same.
FIXED = {
    "preprocessing.audio.sampling_rate": SAMPLE_RATE_HZ,
    "preprocessing.stft.filter_length": 1024,
    "preprocessing.stft.hop_length": HOP,
    "preprocessing.mel.n_mel_channels": MELS,
    "preprocessing.mel.mel_fmin": 0,
    "preprocessing.mel.mel_fmax": 8000,
    "model.params.parameterization": "eps",
    "model.params.backbone_type": "fit",
}


@dataclass(frozen=True)
class PublishedConfig:
    """`fit`: sizes for genau.fit.shape_of, only what the file says."""

    fit: Mapping[str, int] = field(default_factory=dict)
    schedule: ScheduleCard = field(default_factory=ScheduleCard)
    scale_factor: float | None = None
    datasets: Mapping[str, int] = field(default_factory=lambda: dict(PUBLISHED))
    #: The reference's word for "no data set" shares AudioCaps' number.
    unconditional: int = 0


class _Words(yaml.SafeLoader):
    """SafeLoader, to which the reference's two tags are plain words."""


for _tag in ("!module", "!include"):
    _Words.add_constructor(_tag, lambda loader, node: str(node.value))


def read_config(path: Path) -> PublishedConfig:
    """WeightsError for a file that is no such YAML, or that describes another model than the ones built here."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise WeightsError(f"{path} is too large for a checkpoint's configuration")
        found = _Words(path.read_text(encoding="utf-8")).get_single_data()
    except OSError as error:
        raise WeightsError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(_at(found, "model.params"), dict):
        raise WeightsError(f"{path} is no configuration of GenAU's: it has no model.params")
    try:
        return _understood(found)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path}: {error}") from error


def _understood(found: Any) -> PublishedConfig:
    other = {key: value for key, fixed in FIXED.items() if (value := _at(found, key)) is not None and value != fixed}
    if other:
        told = ", ".join(f"{key} is {value!r}, wanted {FIXED[key]!r}" for key, value in other.items())
        raise ValueError(f"it describes a model that is not built here: {told}")
    params = _at(found, "model.params")
    default = ScheduleCard()
    ids = {str(name): int(number) for name, number in _dataset_ids(params).items()}
    scale = params.get("scale_factor")
    return PublishedConfig(
        fit=dict(_fit(_at(params, "unet_config.params") or {})),
        schedule=ScheduleCard(
            steps=params.get("timesteps", default.steps),
            first_beta=params.get("linear_start", default.first_beta),
            last_beta=params.get("linear_end", default.last_beta),
        ),
        scale_factor=None if scale is None else float(scale),
        datasets={name: number for name, number in ids.items() if name != "unconditional"} or dict(PUBLISHED),
    )


def _fit(params: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, ours in (("patch_size", "patch"), ("group_size", "group")):
        if key in params:
            before, along, behind = (int(part) for part in params[key])
            if (before, behind) != (1, 1):
                raise ValueError(f"{key} must be [1, N, 1], not {params[key]!r}")
            yield ours, along
    blocks = params.get("fit_block_config") or {}
    widths = {int(part["dim_head"]) for part in blocks.values() if isinstance(part, dict) and "dim_head" in part}
    if len(widths) > 1:
        raise ValueError(f"attention heads of several widths ({sorted(widths)}) are not built here")
    if widths:
        yield "head_width", widths.pop()


def _dataset_ids(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first table of data sets among the conditioning stages."""
    for stage in (params.get("cond_stage_config") or {}).values():
        if isinstance(table := _at(stage, "params.dataset2id"), dict):
            return table
    return {}


def _at(found: Any, key: str) -> Any:
    """What stands under a dotted key; None where nothing does."""
    for part in key.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found
