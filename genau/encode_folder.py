"""A folder of latents that is being made: which shard comes from which, what is done, what it was made with.

    jobs = jobs_of(["runs/demo/shards"])
    if begin(out, request) is None:
        for job in to_do(out, jobs): record(out, encode_shard(job.shard, out, job.path, ...))
        finish(out, jobs, request)

    DIR/.unfinished/request.json            what this folder is being made of; another request is refused
    DIR/<split>/00000.tar ...               each put in place whole
    DIR/.unfinished/<split>/00000.tar.json  what is in it: its presence = the shard is done
    DIR/manifest.json                       last: its presence = all is done; then .unfinished goes

Trainings find the shards by the manifest, or by the tars in <split> while it is not there yet. Loads no models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from corpus.differences import differences
from corpus.store import Store
from training.errors import TrainError
from training.shards import Shard, find_shards

KIND = "genau-latents"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
UNFINISHED = ".unfinished"
_REQUEST = f"{UNFINISHED}/request.json"


@dataclass(frozen=True)
class EncodedShard:
    """A shard that is in place: `samples` of its own, of `clips` of the source; what is not in it is `skipped`."""

    path: str
    clips: int
    samples: int
    skipped: Mapping[str, int]
    bytes: int
    sha256: str
    audio_s: float


@dataclass(frozen=True)
class Job:
    """One shard to encode, and where in the folder it goes."""

    shard: Shard
    path: str


def jobs_of(places: Sequence[str]) -> list[Job]:
    """Every split of the exports among `places`; folders of tars and tars are `train`. TrainError where none is."""
    by_split: dict[str, list[Shard]] = {}
    for place in places:
        for split in _splits_of(place):
            by_split.setdefault(split, []).extend(find_shards([place], split).shards)
    return [
        Job(shard, f"{split}/{number:05d}.tar")
        for split, shards in by_split.items()
        for number, shard in enumerate(shards)
    ]


def _splits_of(place: str) -> list[str]:
    if place.endswith(".tar") or not (store := Store(place)).exists(MANIFEST):
        return ["train"]
    files = json.loads(store.read(MANIFEST))["files"]
    return sorted({name.partition("/")[0] for name, about in files.items() if about.get("samples")})


def request_of(jobs: Sequence[Job], made_with: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two folders the same: the shards' names and sizes, not where they lie, and what encodes them."""
    shards = {job.path: f"{job.shard.name}, {job.shard.clips} clips" for job in jobs}
    return {"kind": KIND, "format_version": FORMAT_VERSION, **made_with, "shards": shards}


def begin(out: Store, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Claim the folder. The manifest, when this very request is complete there; TrainError when it holds another."""
    files = out.list()
    if MANIFEST in files:
        manifest: dict[str, Any] = json.loads(out.read(MANIFEST))
        _refuse_difference(out, manifest.get("request"), request)
        if lost := sorted(set(manifest["files"]) - set(files)):
            raise TrainError(
                f"{out.root} is complete by its manifest, but {lost[0]} is gone; delete it and encode again"
            )
        _tidy(out)
        return manifest
    if _REQUEST in files:
        _refuse_difference(out, json.loads(out.read(_REQUEST)), request)
    elif files:
        raise TrainError(
            f"{out.root} holds {len(files)} files that are no latents (e.g. {files[0]}); use an empty folder"
        )
    else:
        out.put_if_absent(_REQUEST, _to_json(request))
    return None


def to_do(out: Store, jobs: Sequence[Job]) -> list[Job]:
    files = set(out.list())
    return [job for job in jobs if job.path not in files or _part(job.path) not in files]


def record(out: Store, done: EncodedShard) -> None:
    """Note that a shard is in place."""
    out.replace(_part(done.path), _to_json(asdict(done)))


def results(out: Store, jobs: Sequence[Job]) -> list[EncodedShard]:
    """Of the shards that are done, in the order of the jobs."""
    files = set(out.list())
    return [EncodedShard(**json.loads(out.read(part))) for job in jobs if (part := _part(job.path)) in files]


def finish(out: Store, jobs: Sequence[Job], request: Mapping[str, Any]) -> dict[str, Any]:
    """Put the manifest in place, when every shard is; returns it."""
    done = results(out, jobs)
    skipped: dict[str, int] = {}
    for shard in done:
        for reason, count in shard.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    manifest = {
        "kind": KIND,
        "request": dict(request),
        "clips": sum(shard.clips for shard in done),
        "samples": sum(shard.samples for shard in done),
        "hours": round(sum(shard.audio_s for shard in done) / 3600, 6),
        "skipped": dict(sorted(skipped.items())),
        "bytes": sum(shard.bytes for shard in done),
        "files": {
            shard.path: {"bytes": shard.bytes, "sha256": shard.sha256, "samples": shard.samples} for shard in done
        },
    }
    out.put_if_absent(MANIFEST, _to_json(manifest))
    _tidy(out)
    return manifest


def is_latents(out: Store) -> bool:
    """Whether a finished `genau encode` lies here."""
    try:
        manifest = json.loads(out.read(MANIFEST))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == KIND


def refuse_other_models(places: Sequence[str], *, vae_sha256: str, text_sha256: str) -> None:
    """TrainError where latents were made by another VAE, or their captions' vectors by other text encoders.

    Sizes alone would not tell: the net would learn one model's numbers and be given another's at generation. Tars
    without the manifest say nothing of it.
    """
    for place, made_with in _requests_of(places):
        for what, wanted in (("vae", vae_sha256), ("text", text_sha256)):
            found = made_with.get(what, {}).get("weights_sha256", wanted)
            if found != wanted:
                raise TrainError(
                    f"data: the latents of {place} were made with a {what} of other weights ({found[:12]}) than the "
                    f"recipe names ({wanted[:12]}); name that one, or encode again (autorecap genau encode)"
                )


def refuse_unheard(places: Sequence[str]) -> None:
    """TrainError where latents came without the vectors of their sounds. Tars without manifest say nothing of it."""
    for place, made_with in _requests_of(places):
        if not made_with.get("audio_vectors"):
            raise TrainError(
                f"text.audio_share is above 0, but the latents of {place} lie there without the vectors of their "
                "sounds; encode again with --audio-vectors, or set text.audio_share: 0"
            )


def _requests_of(places: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of the folders among `places` that have a manifest, what was asked for."""
    for place in places:
        if not place.endswith(".tar") and (store := Store(place)).exists(MANIFEST):
            yield place, json.loads(store.read(MANIFEST)).get("request", {})


def _part(path: str) -> str:
    return f"{UNFINISHED}/{path}.json"


def _tidy(out: Store) -> None:
    """Remove what only an unfinished folder needs."""
    for path in [*out.list(UNFINISHED), *out.list(temporary=True)]:
        out.delete(path)
    folder = out.local(UNFINISHED)
    if folder is not None and folder.is_dir():
        for empty in sorted(folder.rglob("*"), reverse=True):
            empty.rmdir()
        folder.rmdir()


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _refuse_difference(out: Store, there: Any, here: Mapping[str, Any]) -> None:
    lines = [f"  {line}" for line in differences(there if isinstance(there, dict) else {}, dict(here))]
    if lines:
        raise TrainError("\n".join([f"{out.root} holds other latents:", *lines[:12], "  use another folder for these"]))
