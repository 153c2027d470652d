"""`autorecap genau evaluate`: hear a generated set and its reference once, and tell every figure with what made it.

The table goes to stdout; progress, and a line for each sound that cannot be heard, go to stderr.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from statistics import median
from typing import TYPE_CHECKING, Any

from generation.errors import GenerationError
from pipeline.bar import Bar
from pipeline.shown import one_line
from pipeline.text_file import write_text
from pipeline.verbs import say

if TYPE_CHECKING:
    from generation.evaluation.extractors.face import Extractor
    from generation.evaluation.hearing import HeardSet
    from generation.evaluation.measure import Figure, Figures
    from generation.evaluation.sounds import Sounds, Unread


def genau_evaluate_verb(
    generated: str,
    *,
    reference: str,
    metrics: str | None,
    extractors: Sequence[str],
    captions: str | None,
    split: str,
    clip_s: float | None,
    everything: bool,
    seed: int,
    resamples: int,
    device: str,
    threads: int,
    json_path: str | None,
) -> int:
    """Exit code 1 when a sound could not be heard."""
    from generation.evaluation.kl import need_pairs
    from generation.evaluation.measure import DEFAULT, KEEPS_VECTORS, measure
    from generation.evaluation.sample import choose
    from generation.evaluation.sounds import find_sounds

    wanted = metric_names(metrics) if metrics else DEFAULT
    if json_path is not None and not Path(json_path).resolve().parent.is_dir():
        raise GenerationError(f"{json_path} cannot be written: there is no folder {Path(json_path).resolve().parent}")
    sides = find_sounds(generated, split), find_sounds(reference, split)
    chosen = choose(sides[0].names, sides[1].names, equal=not everything, seed=seed)
    if metrics and "kl" in wanted:  # before all is heard in vain
        need_pairs(chosen.generated, chosen.reference)
    told = {} if captions is None else read_captions(captions, sides[0])
    networks = open_extractors(extractors, device, threads)
    keep, began = bool(KEEPS_VECTORS.intersection(wanted)), time.monotonic()
    ours = hear_side(sides[0], chosen.generated, networks, "generated", keep, clip_s)
    theirs = hear_side(sides[1], chosen.reference, networks, "reference", keep, clip_s)
    texts = {**captions_beside(theirs), **captions_beside(ours), **told}
    figures = measure(
        ours, theirs, networks, texts, wanted=wanted, asked=metrics is not None, resamples=resamples, seed=seed
    )
    heard = (ours, theirs)
    about = facts(sides, heard, chosen.how, clip_s, device, seed, time.monotonic() - began)
    for line in report(about, figures):
        say(line)
    if json_path is not None:
        write_json(Path(json_path), about, figures, heard)
    return 1 if heard[0].unread or heard[1].unread else 0


def metric_names(text: str) -> list[str]:
    """`fd,kl` -> both, each once."""
    from generation.evaluation.measure import METRICS

    names = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in METRICS]:
        raise GenerationError(f"--metrics {', '.join(unknown)}: give some of {','.join(METRICS)}")
    return names


def open_extractors(specs: Sequence[str], device: str, threads: int) -> list[Extractor]:
    """Each once, in the order given; GenerationError."""
    import torch

    from generation.evaluation.extractors.load import load_extractor

    if device == "cpu":
        torch.set_num_threads(threads)
    return [load_extractor(spec, device) for spec in dict.fromkeys(specs)]


def read_captions(path: str, generated: Sounds) -> dict[str, tuple[str, ...]]:
    """The captions of a table (as `autocap evaluate` reads it) by the names of the generated sounds.

    A line's file need not have the suffix of the generated one, nor its folder. GenerationError when none is met.
    """
    from captioner.evaluate_data import read_table
    from generation.evaluation.words import some_names

    folder = Path(generated.place)
    rows = read_table(path, str(folder) if folder.is_dir() else None)
    known, found = set(generated.names), dict[str, tuple[str, ...]]()
    for row in rows:
        named = [row.path.relative_to(folder)] if row.path is not None and row.path.is_relative_to(folder) else []
        names = [PurePosixPath(*one.parts).with_suffix("").as_posix() for one in (*named, Path(row.name)) if one.name]
        names += [name.rpartition("/")[2] for name in names]
        name = next((name for name in names if name in known), names[-1] if names else row.name)
        found[name] = found.get(name, ()) + row.references
    if not known.intersection(found):
        raise GenerationError(
            f"{path} has no caption for any of the {len(known)} sounds of {generated.place} "
            f"({some_names(generated.names)}); it has {some_names(row.name for row in rows)}"
        )
    return found


def captions_beside(heard: HeardSet) -> dict[str, tuple[str, ...]]:
    """What lies beside the sounds, by their names."""
    return {name: texts for name, texts in zip(heard.names, heard.captions, strict=True) if texts}


def hear_side(
    sounds: Sounds, names: Sequence[str], extractors: Sequence[Extractor], title: str, keep: bool, clip_s: float | None
) -> HeardSet:
    """One set, with progress; what cannot be heard is said at once."""
    from generation.evaluation.hearing import hear

    done, bad = 0, 0
    with Bar(f"hear {title}", len(names)) as bar:

        def on_clip(unread: Unread | None) -> None:
            nonlocal done, bad
            done += 1
            if unread is not None:
                bad += 1
                bar.say(f"{title} {one_line(unread.name)}: {unread.reason}: {one_line(unread.detail)}")
            bar.at(done, f"{bad} unheard")

        return hear(sounds, names, extractors, keep_vectors=keep, clip_s=clip_s, on_clip=on_clip)


def facts(
    sides: Sequence[Sounds],
    heard: Sequence[HeardSet],
    how: str,
    clip_s: float | None,
    device: str,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """What all figures depend on."""
    from pipeline.code_version import code_version

    about: dict[str, Any] = {"code": code_version()}
    for name, side, one in zip(("generated", "reference"), sides, heard, strict=True):
        about[name] = {
            "place": side.place,
            "sounds": len(side.names),
            "heard": len(one.names),
            "unheard": len(one.unread),
            "clip_seconds": {"least": min(one.seconds), "median": median(one.seconds), "most": max(one.seconds)},
            "sample_rates_hz": {str(rate): count for rate, count in sorted(one.rates_hz.items())},
        }
    return about | {
        "sample": how or "all sounds of both sets",
        "clip_s": clip_s,
        "device": device,
        "seed": seed,
        "seconds": round(seconds, 3),
    }


def report(about: Mapping[str, Any], figures: Figures) -> Iterator[str]:
    """The two sets, then a line for each figure."""
    for side in ("generated", "reference"):
        yield f"{side}  {_set_text(about[side])}"
    yield f"compared   {about['sample']}; autorecap {about['code']}, {about['seconds']:.1f} s on {about['device']}"
    yield from _warnings(about)
    yield ""
    header = ("metric", "value", "extractor", "weights", "Hz", "N", "vectors")
    rows = [header, *(_row(figure) for figure in figures.found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    for figure in figures.found:
        if figure.note:
            yield f"{figure.metric} by {figure.extractor}: {figure.note}"
    for (metric, extractor), why in figures.left_out.items():
        yield f"no {metric} by {extractor}: {one_line(why)}"


def _set_text(side: Mapping[str, Any]) -> str:
    seconds, rates = side["clip_seconds"], [int(rate) for rate in side["sample_rates_hz"]]
    length = f"{seconds['median']:.2f} s"
    if seconds["least"] != seconds["most"]:
        length += f" (median; {seconds['least']:.2f} to {seconds['most']:.2f})"
    rate = f"{rates[0]} Hz" if len(rates) == 1 else f"{rates[0]} to {rates[-1]} Hz"
    unheard = f", {side['unheard']} more unheard" if side["unheard"] else ""
    return f"{one_line(side['place'])}: {side['heard']} sounds of {side['sounds']}{unheard}, {rate}, {length}"


def _warnings(about: Mapping[str, Any]) -> Iterator[str]:
    """Differences of the sets that move a distance and are no matter of quality."""
    ours, theirs = (about[side]["clip_seconds"]["median"] for side in ("generated", "reference"))
    if abs(ours - theirs) > 0.05 * max(ours, theirs):
        yield "note: the sets' clips differ in length, which distances hear; --clip-s SECONDS cuts both"
    slowest = [min(int(rate) for rate in about[side]["sample_rates_hz"]) for side in ("generated", "reference")]
    if slowest[0] != slowest[1]:
        yield f"note: some sounds of one set end at {min(slowest) / 2000:g} kHz, those of the other do not"


def _row(figure: Figure) -> tuple[str, ...]:
    value = f"{figure.value:.4g}"
    if figure.low is not None and figure.high is not None:
        value += f" [{figure.low:.4g}, {figure.high:.4g}]"
    if figure.std is not None:
        value += f" ± {figure.std:.3g}"
    counts = [str(count) for count in (figure.generated, figure.reference) if count is not None]
    vectors = "" if figure.vectors is None else f"{figure.vectors[0]} + {figure.vectors[1]} x {figure.dim}"
    weights, rate = figure.weights_sha256[:12], str(figure.sample_rate_hz)
    return figure.metric, value, figure.extractor, weights, rate, " + ".join(counts), vectors


def write_json(path: Path, about: Mapping[str, Any], figures: Figures, heard: Sequence[HeardSet]) -> None:
    """Whole or not at all. Each figure says by itself what it depends on, wherever it is copied to."""
    sides = ("generated", "reference")
    told = {
        **about,
        "figures": [asdict(figure) | _beside(about) for figure in figures.found],
        "left_out": [{"metric": m, "extractor": e, "reason": why} for (m, e), why in figures.left_out.items()],
        "unheard": [
            {"set": side, "sound": one.name, "reason": one.reason, "detail": one.detail}
            for side, some in zip(sides, heard, strict=True)
            for one in some.unread
        ],
    }
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def _beside(about: Mapping[str, Any]) -> dict[str, Any]:
    sides = ("generated", "reference")
    return {
        "clip_seconds": {side: about[side]["clip_seconds"] for side in sides},
        "sample_rates_hz": {side: about[side]["sample_rates_hz"] for side in sides},
        "sample": about["sample"],
        "code": about["code"],
    }
