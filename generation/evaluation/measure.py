"""The figures of a generated set against a reference set, each with everything that it depends on.

    figures = measure(generated, reference, extractors, captions, wanted=("fd", "kl"))
    figures.found[0].value, figures.left_out

A number without its extractor, its weights and its N says nothing: of one model two groups report figures that differ
by a third (docs/genau_evaluation.md). So every figure carries them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from generation.errors import GenerationError
from generation.evaluation.clap_score import clap_scores
from generation.evaluation.extractors.face import Extractor, TextExtractor
from generation.evaluation.frechet import frechet_distance, frechet_inf
from generation.evaluation.hearing import HeardSet, Kept
from generation.evaluation.inception import SPLITS, inception_score
from generation.evaluation.intervals import RESAMPLES, Mean, mean_of
from generation.evaluation.kad import kernel_distance
from generation.evaluation.kl import divergence, paired
from generation.evaluation.words import some_names

DEFAULT = ("fd", "is", "kl", "clap")
#: These compare vectors one by one.
KEEPS_VECTORS = frozenset(("kad", "fd-inf"))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number. `low` and `high`: its 95 % interval; `std`: deviation over the parts of an Inception Score."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    std: float | None = None
    extractor: str
    weights_sha256: str
    sample_rate_hz: int
    #: What one vector heard; None: the whole clip.
    window_s: float | None
    #: Clips of each side that went into it; None where a side did not.
    generated: int | None = None
    reference: int | None = None
    #: Of a distance: vectors of each side, and numbers of a vector.
    vectors: tuple[int, int] | None = None
    dim: int | None = None
    note: str = ""


@dataclass
class Figures:
    """`left_out`: (metric, extractor) -> why it is not there."""

    found: list[Figure] = field(default_factory=list)
    left_out: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """Both sets as one extractor heard them."""

    extractor: Extractor
    generated: HeardSet
    reference: HeardSet
    ours: Kept
    theirs: Kept
    captions: Mapping[str, Sequence[str]]
    resamples: int
    seed: int

    def figure(self, metric: str, value: float, **more: Any) -> Figure:
        return Figure(
            metric=metric,
            value=value,
            extractor=self.extractor.name,
            weights_sha256=self.extractor.weights_sha256,
            sample_rate_hz=self.extractor.sample_rate_hz,
            window_s=self.extractor.window_s,
            **more,
        )

    def distance(self, metric: str, value: float, note: str = "") -> Figure:
        ours, theirs = self.ours.gaussian, self.theirs.gaussian
        clips = {"generated": len(self.generated.names), "reference": len(self.reference.names)}
        return self.figure(metric, value, **clips, vectors=(ours.count, theirs.count), dim=ours.dim, note=note)

    def mean(self, values: np.ndarray) -> Mean:
        return mean_of(values, resamples=self.resamples, seed=self.seed)


def measure(
    generated: HeardSet,
    reference: HeardSet,
    extractors: Sequence[Extractor],
    captions: Mapping[str, Sequence[str]],
    *,
    wanted: Sequence[str] = DEFAULT,
    asked: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Figures:
    """`wanted` of METRICS, by every extractor that gives what they need. `captions`: of the sounds, by name.

    What an extractor or a set does not give is left out with its reason. Sounds without a pair or a caption are so,
    too, unless the user `asked` for these metrics: then they are a GenerationError.
    """
    figures = Figures()
    for number, extractor in enumerate(extractors):
        kept = generated.kept[number], reference.kept[number]
        view = View(extractor, generated, reference, *kept, captions, resamples, seed)
        for metric in wanted:
            try:
                figures.found += list(METRICS[metric](view))
            except (ValueError, GenerationError) as why:
                if asked and isinstance(why, GenerationError):
                    raise
                figures.left_out[metric, extractor.name] = str(why)
    return figures


def _fd(view: View) -> Iterator[Figure]:
    ours, theirs = view.ours.gaussian, view.theirs.gaussian
    fewest, note = min(ours.count, theirs.count), ""
    if fewest <= ours.dim:
        note = f"{fewest} vectors in {ours.dim} dimensions: a covariance is singular; compare at equal N only"
    yield view.distance("FAD" if view.extractor.name == "vggish" else "FD", frechet_distance(ours, theirs), note)


def _fd_inf(view: View) -> Iterator[Figure]:
    found = frechet_inf(np.stack(view.ours.vectors), view.theirs.gaussian, seed=view.seed)
    yield view.distance("FD-inf", found.value, f"fits a line over 1/N with R2 = {found.r_squared:.3f}")


def _kad(view: View) -> Iterator[Figure]:
    yield view.distance(
        "KAD", kernel_distance(np.stack(view.ours.vectors), np.stack(view.theirs.vectors), seed=view.seed)
    )


def _is(view: View) -> Iterator[Figure]:
    _need_classes(view)
    score = inception_score(np.stack(view.ours.logits))
    yield view.figure("IS", score.mean, std=score.std, generated=len(view.generated.names))
    if len(view.theirs.logits) >= SPLITS:
        score = inception_score(np.stack(view.theirs.logits))
        yield view.figure("IS of reference", score.mean, std=score.std, reference=len(view.reference.names))


def _kl(view: View) -> Iterator[Figure]:
    _need_classes(view)
    unread = {one.name for one in view.reference.unread}
    mine = zip(view.generated.names, view.ours.logits, strict=True)
    ours = {name: logits for name, logits in mine if name not in unread}
    found = divergence(*paired(ours, dict(zip(view.reference.names, view.theirs.logits, strict=True))))
    pairs = {"generated": len(ours), "reference": len(ours)}
    mean = view.mean(found.softmax)
    yield view.figure("KL softmax", mean.value, low=mean.low, high=mean.high, **pairs)
    if view.extractor.name != "passt":  # whose logits are logarithms of probabilities
        mean = view.mean(found.sigmoid)
        yield view.figure("KL sigmoid", mean.value, low=mean.low, high=mean.high, **pairs)


def _need_classes(view: View) -> None:
    if not (view.ours.logits and view.theirs.logits):
        raise ValueError("it tells no classes")


def _clap(view: View) -> Iterator[Figure]:
    if not isinstance(view.extractor, TextExtractor):
        raise ValueError("it reads no texts")
    names = view.generated.names
    if bare := [name for name in names if name not in view.captions]:
        raise GenerationError(
            f"a CLAP score needs the caption of each generated sound: {len(bare)} of {len(names)} have none "
            f"({some_names(bare)}); give --captions FILE, or leave clap out of --metrics"
        )
    mean = _clap_mean(view, view.generated, view.ours)
    yield view.figure("CLAP", mean.value, low=mean.low, high=mean.high, generated=len(names))
    if set(view.reference.names) <= set(view.captions):
        mean = _clap_mean(view, view.reference, view.theirs)
        more = {"low": mean.low, "high": mean.high, "reference": len(view.reference.names)}
        yield view.figure("CLAP of reference", mean.value, **more)


def _clap_mean(view: View, heard: HeardSet, kept: Kept) -> Mean:
    assert isinstance(view.extractor, TextExtractor)
    captions = [view.captions[name] for name in heard.names]
    return view.mean(clap_scores(np.stack(kept.clips), captions, view.extractor.scorer))


#: What can be asked for, in the order of a table.
METRICS: dict[str, Callable[[View], Iterator[Figure]]] = {
    "fd": _fd,
    "fd-inf": _fd_inf,
    "kad": _kad,
    "is": _is,
    "kl": _kl,
    "clap": _clap,
}
