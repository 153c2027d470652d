"""What is seen in a picture, in one sentence, by an image captioner of transformers (BLIP unless told otherwise).

    captioner = load_image_captioner("Salesforce/blip-image-captioning-base", "cuda")
    captioner.caption([image, image], beams=3)          # PIL images, RGB

Pictures are prepared by Pillow on the CPU (as the published models were evaluated), whatever else is installed: the
same picture gives the same numbers on every machine. Weights are safetensors, or are read without running code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

BLIP = "Salesforce/blip-image-captioning-base"
#: Families of transformers that caption a picture without being asked anything. BLIP-2 and chat models want a prompt.
FAMILIES = ("blip", "git")
#: A caption is one sentence; what is longer is cut.
MAX_CHARACTERS = 300

Precision = Literal["float32", "bfloat16"]


class ImageCaptionerError(ValueError):
    """An image captioner that cannot be had as asked: which, why, and what to do."""


class ImageCaptioner:
    """A captioner with its weights on a device. `processor`: transformers' image processor."""

    def __init__(
        self, model: Any, processor: Any, tokenizer: Any, *, model_id: str, weights_sha256: str, device: str
    ) -> None:
        self.model_id, self.weights_sha256, self.device = model_id, weights_sha256, device
        self._model = model.to(device).eval()
        self._processor, self._tokenizer = processor, tokenizer

    @property
    def name(self) -> str:
        """What the `video_caption_model` column holds: the name and the beginning of the weights' hash."""
        return f"{self.model_id}@{self.weights_sha256[:12]}"

    def prepare(self, images: Sequence[Image]) -> torch.Tensor:
        """RGB pictures of any size -> (B, 3, H, W) uint8 of the model's size, on the CPU.

        What is left to do is done where the model is: a quarter of the processor's time and of the bytes to move.
        """
        import torch

        small = self._processor(images=list(images), return_tensors="np", do_rescale=False, do_normalize=False)
        return torch.from_numpy(np.ascontiguousarray(small["pixel_values"], dtype=np.uint8))

    def say(self, pixels_BCHW: torch.Tensor, *, beams: int = 3, max_tokens: int = 20) -> list[str]:
        """A caption for each picture of `prepare`; empty where the model says nothing."""
        import torch

        with torch.inference_mode():
            ids = self._model.generate(
                pixel_values=self._normalised(pixels_BCHW.to(self.device)).to(self._model.dtype),
                num_beams=beams,
                max_new_tokens=max_tokens,
                do_sample=False,
            )
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [" ".join(text.split())[:MAX_CHARACTERS] for text in texts]

    def _normalised(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """What the image processor would have made of them, to float32's rounding."""
        import torch

        pixels = pixels_BCHW.float()
        if self._processor.do_rescale:
            pixels = pixels * self._processor.rescale_factor
        if self._processor.do_normalize:
            mean, std = (
                torch.tensor(values, device=pixels.device)[:, None, None]
                for values in (self._processor.image_mean, self._processor.image_std)
            )
            pixels = (pixels - mean) / std
        return pixels

    def caption(self, images: Sequence[Image], *, beams: int = 3, max_tokens: int = 20) -> list[str]:
        """`prepare` and `say`."""
        return self.say(self.prepare(images), beams=beams, max_tokens=max_tokens) if images else []


def load_image_captioner(
    model: str = BLIP,
    device: str = "cpu",
    threads: int = 1,
    *,
    precision: Precision | None = None,
    weights_sha256: str | None = None,
) -> ImageCaptioner:
    """The captioner behind a folder or a name on the Hub. `precision` None: bfloat16 on a GPU, float32 on a CPU.

    ImageCaptionerError when it cannot be had, is of another family, or its weights have another SHA-256 than wanted
    (a prefix of at least 12 digits is enough).
    """
    import torch
    import transformers
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    from scorer.clap import hash_weights

    if device == "cpu":
        torch.set_num_threads(threads)
    try:
        family = AutoConfig.from_pretrained(model).model_type
        if family not in FAMILIES:
            raise ImageCaptionerError(
                f"{model!r} is a {family}, which cannot caption a picture without a prompt: give a model of the family "
                f"{', '.join(FAMILIES)}"
            )
        found_sha256 = hash_weights(model)
        _check_hash(model, found_sha256, weights_sha256)
        pillow: Any = {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": False}
        processor = AutoImageProcessor.from_pretrained(model, **pillow)
        tokenizer = AutoTokenizer.from_pretrained(model)
        network: Any
        network, read = AutoModelForImageTextToText.from_pretrained(model, output_loading_info=True)
    except ImageCaptionerError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, UnpicklingError, SafetensorError) as error:
        raise ImageCaptionerError(
            f"no image captioner under {model!r}: give a folder or a name on the Hub that holds one with its image "
            f"processor and tokenizer, e.g. {BLIP} ({error})"
        ) from error
    words = network.config.get_text_config(decoder=True).vocab_size
    if not words // 2 <= len(tokenizer) <= words:  # where the files are missing, transformers makes an empty one
        raise ImageCaptionerError(f"{model!r} knows {words} pieces of words, the tokenizer beside it {len(tokenizer)}")
    lacking = sorted({name for name, _ in network.named_parameters()} & set(read["missing_keys"]))
    if lacking:  # transformers would fill them with chance
        raise ImageCaptionerError(f"the weights of {model!r} lack {len(lacking)} tensors: {', '.join(lacking[:8])}")
    wanted = precision or ("float32" if device == "cpu" else "bfloat16")
    return ImageCaptioner(
        network.to(getattr(torch, wanted)),
        processor,
        tokenizer,
        model_id=Path(model).name if Path(model).is_dir() else model,
        weights_sha256=found_sha256,
        device=device,
    )


def _check_hash(model: str, found: str, wanted: str | None) -> None:
    if wanted is None:
        return
    if len(wanted) < 12:
        raise ImageCaptionerError(f"weights_sha256 {wanted!r} is too short to name weights: give at least 12 digits")
    if not found.startswith(wanted.lower()):
        raise ImageCaptionerError(
            f"the weights of {model!r} have SHA-256 {found}, wanted {wanted}: another file, or a damaged one; fetch it "
            "again or change weights_sha256"
        )
