"""`autorecap autocap evaluate`: caption a data set once, measure it for every number of beams.

The table goes to stdout; progress, and a line for each clip that cannot be heard, go to stderr. Captions are written
before the metrics are computed: those take Java's programs, which may fail.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.evaluate import EvaluateError, Said, Unheard
from pipeline.bar import Bar
from pipeline.shown import one_line
from pipeline.text_file import write_text
from pipeline.verbs import say

if TYPE_CHECKING:
    from captioner.evaluate import Clip
    from captioner.load import Captioner, CaptionerOptions
    from captioner.metrics.measure import Measured, Value
    from scorer.load import Scorer


@dataclass
class Answers:
    """What came out of a data set."""

    said: list[Said] = field(default_factory=list)
    unheard: list[Unheard] = field(default_factory=list)
    seconds: float = 0.0


def evaluate_verb(
    data: Sequence[str],
    *,
    beams: str,
    model: str,
    scorer: str | None,
    device: str,
    threads: int,
    autocap: Sequence[str],
    audio: str | None,
    split: str,
    metadata: str,
    csv_path: str | None,
    json_path: str | None,
    java: bool | None,
    resamples: int,
    seed: int,
) -> int:
    """Exit code 1 when a clip could not be heard."""
    numbers, keys = beam_numbers(beams), metadata_keys(metadata)
    for place in (csv_path, json_path):
        if place is not None and not Path(place).resolve().parent.is_dir():
            raise EvaluateError(f"{place} cannot be written: there is no folder {Path(place).resolve().parent}")
    clips, total = open_data(data, audio, split, keys)
    captioner, ears = open_models(model, scorer, device, threads, captioner_options(autocap))
    answers = caption_all(captioner, clips, total, numbers, ears, device)
    if not answers.said:
        raise EvaluateError(f"none of the {len(answers.unheard)} clips could be heard: there is nothing to measure")
    if csv_path is not None:
        write_captions(Path(csv_path), answers.said)
    measured = measure_all(answers.said, numbers, java=java, resamples=resamples, seed=seed)
    about = facts(captioner, ears, data, split, keys, device, answers, measured)
    for line in report(about, measured, answers):
        say(line)
    if json_path is not None:
        found = {str(way): {name: value._asdict() for name, value in some.items()} for way, some in measured.of.items()}
        unheard = [{"file": one.name, "reason": one.reason, "detail": one.detail} for one in answers.unheard]
        text = json.dumps({**about, "beams": found, "unheard": unheard}, indent=2, ensure_ascii=False, allow_nan=False)
        write_text(Path(json_path), text + "\n")
    return 1 if answers.unheard else 0


def beam_numbers(text: str) -> list[int]:
    """`1,2,3` -> [1, 2, 3]."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or len(set(numbers)) != len(numbers) or not all(1 <= number <= 16 for number in numbers):
        raise EvaluateError(f"--beams {text}: give different numbers from 1 to 16 with commas, e.g. 1,2,3")
    return numbers


def metadata_keys(text: str) -> list[str]:
    """`title,video_caption` -> both; `none` -> nothing."""
    from captioner.load import Metadata

    keys = [] if text == "none" else text.split(",")
    if unknown := sorted(set(keys) - set(Metadata._fields)):
        raise EvaluateError(f"--metadata {', '.join(unknown)}: give some of {', '.join(Metadata._fields)}, or none")
    return keys


def captioner_options(settings: Sequence[str]) -> CaptionerOptions:
    """`KEY=VALUE` each, the keys of a recipe's `autocap`; a value is YAML."""
    import yaml
    from pydantic import TypeAdapter, ValidationError

    from captioner.load import CaptionerOptions

    known = {one.name for one in fields(CaptionerOptions)}
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in known:
            raise EvaluateError(f"--autocap {setting}: write KEY=VALUE with one of {', '.join(sorted(known))}")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise EvaluateError(f"--autocap {setting}: the value is not YAML") from error
    try:
        return TypeAdapter(CaptionerOptions).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise EvaluateError(f"--autocap {'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def open_data(
    data: Sequence[str], audio: str | None, split: str, keys: Sequence[str]
) -> tuple[Iterator[Clip | Unheard], int]:
    """The clips, and how many there are."""
    from captioner.evaluate_data import hear_rows, hear_shards, is_table, read_table, shards_at

    tables = [place for place in data if is_table(place)]
    if len(tables) > 1 or (tables and len(data) > 1):
        raise EvaluateError("give one table (CSV or JSON lines), or shards: not several, and not both")
    if tables:
        rows = read_table(tables[0], audio, keys)
        return hear_rows(rows), len(rows)
    if audio is not None:
        raise EvaluateError("--audio is for a table: shards have their sounds in them")
    shards, clips = shards_at(data, split)
    return hear_shards(shards, keys), clips


def open_models(
    model: str, scorer: str | None, device: str, threads: int, options: CaptionerOptions
) -> tuple[Captioner, Scorer | None]:
    """The captioner, and the scorer or none. An AutoCap's CLAP is its scorer unless another is named."""
    from captioner.load import EMBEDDED, CaptionerError, load_captioner
    from pipeline.scorers import open_scorer

    ears: Scorer | None = None
    if scorer is None and options.clap is not None:
        ears = open_scorer(options.clap, device, vars(options.clap_options))
    elif scorer is not None or model == EMBEDDED:
        ears = None if scorer == "none" else open_scorer(scorer or EMBEDDED, device)
    try:
        return load_captioner(model, device, threads, ears, options), ears
    except CaptionerError:
        raise
    except (TypeError, ValueError, OSError, RuntimeError, AssertionError, ImportError) as error:
        raise CaptionerError(f"the captioner {model!r} cannot be loaded on {device}: {error}") from error


def caption_all(
    captioner: Captioner,
    clips: Iterable[Clip | Unheard],
    total: int,
    beams: Sequence[int],
    scorer: Scorer | None,
    device: str = "cpu",
) -> Answers:
    """All clips' captions, with progress; what cannot be heard is said at once."""
    from captioner.evaluate import CPU_BATCH, GPU_BATCH, caption_clips

    answers, began = Answers(), time.monotonic()
    with Bar("caption", total) as bar:
        for one in caption_clips(captioner, clips, beams, scorer, CPU_BATCH if device == "cpu" else GPU_BATCH):
            if isinstance(one, Unheard):
                bar.say(f"{one_line(one.name)}: {one.reason}: {one_line(one.detail)}")
                answers.unheard.append(one)
            else:
                answers.said.append(one)
            bar.at(len(answers.said) + len(answers.unheard), f"{len(answers.unheard)} unheard")
    answers.seconds = time.monotonic() - began
    return answers


def measure_all(
    said: Sequence[Said], beams: Sequence[int], *, java: bool | None, resamples: int, seed: int
) -> Measured:
    import numpy as np

    from captioner.metrics.measure import measure

    clap = {number: np.array([one.clap[number] for one in said]) for number in beams} if said[0].clap else {}
    return measure(
        {number: [one.captions[number].text for one in said] for number in beams},
        [one.references for one in said],
        java=java,
        resamples=resamples,
        seed=seed,
        clip_scores={"CLAP": clap} if clap else {},
    )


def facts(
    captioner: Captioner,
    scorer: Scorer | None,
    data: Sequence[str],
    split: str,
    keys: Sequence[str],
    device: str,
    answers: Answers,
    measured: Measured,
) -> dict[str, Any]:
    """What a figure depends on."""
    from captioner.evaluate_data import is_table
    from captioner.load import model_name
    from scorer.load import model_name as scorer_name

    references = [len(one.references) for one in answers.said]
    return {
        "data": list(data),
        "split": None if is_table(data[0]) else split,
        "model": model_name(captioner),
        "scorer": None if scorer is None else scorer_name(scorer),
        "device": device,
        "metadata": list(keys),
        "clips": measured.clips,
        "references": sum(references),
        "tokenizer": measured.tokenizer,
        "left_out": measured.left_out,
        "seconds": round(answers.seconds, 3),
    }


def report(about: dict[str, Any], measured: Measured, answers: Answers) -> Iterator[str]:
    """The table, metrics down and beams across, as papers print them."""
    yield f"model {about['model']}, metadata: {', '.join(about['metadata']) or 'none'}"
    yield (
        f"{about['clips']} clips with {about['references']} references, captioned in {about['seconds']:.1f} s; "
        f"tokenizer {about['tokenizer']}"
    )
    if answers.unheard:
        reasons = Counter(one.reason for one in answers.unheard).most_common()
        yield f"{len(answers.unheard)} more could not be heard: {', '.join(f'{name} {n}' for name, n in reasons)}"
    yield ""
    ways = list(measured.of)
    yield f"{'x 100':<12}" + "".join(f"  {f'{way} beam' + 's' * (way > 1):<22}" for way in ways).rstrip()
    for name in measured.of[ways[0]]:
        yield f"{name:<12}" + "".join(f"  {_cell(name, measured.of[way][name]):<22}" for way in ways).rstrip()
    for reason in dict.fromkeys(measured.left_out.values()):
        yield f"no {', '.join(name for name, why in measured.left_out.items() if why == reason)}: {reason}"
    if measured.clips == 1:
        yield "one clip: its CIDEr-D is 0 whatever it says, since every word is in every clip"


def _cell(name: str, value: Value) -> str:
    """`26.1 [24.0, 28.3]`; CLAP scores as they are, a vocabulary as a number."""
    if name == "vocabulary":
        return f"{value.value:6.0f} words"
    factor, digits = (1, 3) if name == "CLAP" else (100, 1)
    told = f"{factor * value.value:6.{digits}f}"
    if value.low is None or value.high is None:
        return told
    return f"{told} [{factor * value.low:.{digits}f}, {factor * value.high:.{digits}f}]"


def write_captions(path: Path, said: Sequence[Said]) -> None:
    """A line for each clip and number of beams; references as a JSON list."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["file", "beam", "caption", "logprob", "clap_score", "references"])
    for one in said:
        for beam, caption in one.captions.items():
            clap = f"{one.clap[beam]:.6f}" if beam in one.clap else ""
            references = json.dumps(one.references, ensure_ascii=False)
            writer.writerow([one.name, beam, caption.text, caption.logprob, clap, references])
    write_text(path, out.getvalue())
