"""Which class stands behind `--extractor NAME[=WEIGHTS]`. Imports no torch until something is loaded."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from generation.errors import GenerationError
from generation.evaluation.extractors.face import Extractor
from scorer.load import EMBEDDED

#: What must be given behind `=`.
WEIGHTS_OF = {
    "vggish": "torchvggish's vggish-10086976.pth",
    "panns": "PANNs' Cnn14_16k_mAP=0.438.pth",
    "panns-32k": "PANNs' Cnn14_mAP=0.431.pth",
    "passt": "PaSST's passt-s-f128-p16-s10-ap.476-swa.pt",
    "clap": "a CLAP: one of LAION's .pt files, a transformers folder, a Hub name",
}
_FACE = ("name", "weights_sha256", "sample_rate_hz", "window_s", "dim", "embed")


def load_extractor(spec: str, device: str = "cpu") -> Extractor:
    """`embedded`, `NAME=WEIGHTS` with a name of WEIGHTS_OF, or `my_module:MyExtractor[=ANYTHING]`.

    A class of one's own is called with what stands behind `=` ("" for nothing) and the device. GenerationError for a
    name that nobody knows, weights that are not there, do not fit or would have to run code to be read.
    """
    name, equals, weights = spec.partition("=")
    try:
        return _loader(name, weights, bool(equals))(device)
    except GenerationError:
        raise
    except (ImportError, OSError, ValueError, RuntimeError, TypeError, AttributeError, AssertionError) as error:
        raise GenerationError(f"the extractor {spec!r} cannot be loaded on {device}: {error}") from error


def _loader(name: str, weights: str, given: bool) -> Callable[[str], Extractor]:
    if ":" in name:
        return lambda device: _own(name, weights, device)
    if name == EMBEDDED:
        if given:
            raise GenerationError("embedded brings its weights along; another CLAP is clap=WEIGHTS")
        return _embedded
    if name not in WEIGHTS_OF:
        known = ", ".join((EMBEDDED, *(f"{known}=WEIGHTS" for known in WEIGHTS_OF)))
        raise GenerationError(f"there is no extractor {name!r}; give one of {known}, or my_module:MyExtractor")
    if not weights:
        raise GenerationError(f"{name} needs weights: {name}=FILE with {WEIGHTS_OF[name]} (docs/genau_evaluation.md)")
    return lambda device: _published(name, weights, device)


def _embedded(device: str) -> Extractor:
    from generation.evaluation.extractors.clap import EmbeddedClap
    from scorer.embedded import EmbeddedScorer
    from scorer.load import WEIGHTS

    return EmbeddedClap(EmbeddedScorer(WEIGHTS, device))


def _published(name: str, weights: str, device: str) -> Extractor:
    if name == "clap":
        import torch

        from generation.evaluation.extractors.clap import Clap
        from scorer.load import load_scorer

        return Clap(load_scorer(weights, device, torch.get_num_threads()))
    if name == "vggish":
        from generation.evaluation.extractors.vggish import Vggish

        return Vggish(Path(weights), device)
    if name == "passt":
        from generation.evaluation.extractors.passt import Passt

        return Passt(Path(weights), device)
    from generation.evaluation.extractors.panns import SHAPES, Panns

    return Panns(Path(weights), SHAPES[name], device)


def _own(name: str, weights: str, device: str) -> Extractor:
    module, _, attribute = name.partition(":")
    found = getattr(import_module(module), attribute)(weights, device)
    missing = [wanted for wanted in _FACE if not hasattr(found, wanted)]
    if missing:
        raise GenerationError(f"{name} makes no extractor: it lacks {', '.join(missing)}")
    return cast("Extractor", found)
