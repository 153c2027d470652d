"""Check a folder of latents against its manifest: every shard's bytes, every sample's members, every array's shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from corpus.report import Check, Report
from corpus.store import Store
from genau.encode_folder import MANIFEST
from generation.data_reader import Damaged, samples_in
from generation.latent_numbers import gaussians, stacked
from generation.latents import AUDIO, TEXT, latent_of, vectors_of
from training.errors import TrainError
from training.samples import Unusable, captions_in, record_of
from training.shards import Sample, Shard

#: Faults told one by one; beyond that they are counted.
_TOLD = 5
#: Of a caption's vector, and of a sound's where there are such.
Widths = tuple[int, int | None]


def verify_latents(out: Store) -> Report:
    """Every shard is read once, from front to back."""
    manifest = json.loads(out.read(MANIFEST))
    files: dict[str, dict[str, Any]] = manifest["files"]
    present = set(out.list())
    missing = [f"{path} is missing" for path in files if path not in present]
    strange = [f"{path} is not in the manifest" for path in sorted(present - set(files)) if path.endswith(".tar")]
    there = [path for path in files if path in present]
    bytes_wrong = [fault for path in there for fault in _bytes_of(out, path, files[path])]
    text = manifest["request"]["text"]
    widths = int(text["width"]), int(text["hears"]) if manifest["request"].get("audio_vectors") else None
    shapes: set[tuple[int, ...]] = set()
    samples = [fault for path in there for fault in _samples_of(out, path, files[path]["samples"], widths, shapes)]
    if len(shapes) > 1:
        samples.append(f"latents of several shapes: {', '.join(map(str, sorted(shapes)))}")
    return Report(
        [
            Check("manifest", True, f"{len(files)} shards"),
            _check("files present", missing, f"{len(files)} shards"),
            _check("no other shards", strange, ""),
            _check("bytes", bytes_wrong, f"SHA-256 of {len(there)} shards"),
            _check("samples", samples, f"{manifest['samples']} latents"),
        ]
    )


def _check(name: str, faults: list[str], good: str) -> Check:
    if not faults:
        return Check(name, True, good)
    more = f" and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
    return Check(name, False, "; ".join(faults[:_TOLD]) + more)


def _bytes_of(out: Store, path: str, stated: dict[str, Any]) -> Iterator[str]:
    with out.open(path) as file:
        found = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
    if found != stated["sha256"]:
        yield f"{path} has SHA-256 {found[:12]}, {stated['sha256'][:12]} is stated; encode it again"


def _samples_of(out: Store, path: str, stated: int, widths: Widths, shapes: set[tuple[int, ...]]) -> Iterator[str]:
    strays, count = [], 0
    try:
        for sample in samples_in(Shard(out.root, path, stated), lambda: strays.append(1)):
            count += 1
            if fault := _fault(sample, widths, shapes):
                yield f"{path}: {sample['__key__']}: {fault}"
    except Damaged as error:
        yield f"{path} ends in the middle: {error}"
    except TrainError as error:
        yield str(error)
    if count != stated or strays:
        yield f"{path} has {count} samples and {len(strays)} members without a record, {stated} samples are stated"


def _fault(sample: Sample, widths: Widths, shapes: set[tuple[int, ...]]) -> str:
    """A word for what is wrong with a sample; empty where nothing is."""
    try:
        captions = captions_in(record_of(sample))
        latent, text = latent_of(sample), vectors_of(sample, TEXT)
        audio = np.zeros(0) if widths[1] is None else vectors_of(sample, AUDIO)
    except Unusable as error:
        return error.reason
    shape = latent.numbers.shape
    shapes.add(shape)
    if len(shape) != 3 or shape[0] != 2:
        return f"a latent of shape {shape}"
    if text.shape != (len(captions), widths[0]):
        return f"vectors of shape {text.shape} for {len(captions)} captions"
    if audio.shape != (widths[1] or 0,):
        return f"a sound's vector of shape {audio.shape}"
    numbers = (*gaussians(*stacked([latent])), text, audio)
    return "" if all(np.isfinite(part).all() for part in numbers) else "numbers that are not finite"
