"""From one listed source to its clips: ask the site or the file's header, read the transcript, cut the gaps.

    planned = plan_source(entry, rules, client)
    planned.outcome, planned.spans_ms          # "planned", [(0, 10000), (12500, 15000)]

Every entry comes back with an outcome: `planned` with clips; `ended` where there is nothing to cut
(`no_gaps`, `no_transcript`, `too_short`, `too_long`); `failed` with a reason of stages/faults.py. What the list or
sidecar says of a source goes before what the site says. A file whose list gives its clips is asked for its length only;
a URL whose list does so is not asked at all (`given_sources`, for many at once).

What is planned becomes a table (PLANNED), a row a source, from which pipeline/plan_units.py makes the plan's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import PLAN, SOURCES, fields
from pipeline.config import Plan
from pipeline.sources.entry import GIVEN_CLIP, SourceEntry, source_id_of
from pipeline.sources.given import MAX_CLIP_MS
from stages.faults import Fault, classify_file
from stages.gaps import gaps, grid
from stages.media import FileMedia, page_json, to_json
from stages.page_texts import clean, texts_of
from stages.transcript import MAX_BYTES, MAX_MS, Span, Transcript, TranscriptError, parse_transcript
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_info import SourceInfo

MAX_META_VALUE = 4000
MAX_SIDECAR_BYTES = 1_000_000
TEXTS = ("url", "title", "description", "video_caption", "license", "uploader")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The recipe's `plan` section in whole milliseconds."""

    gap_min_ms: int
    clip_max_ms: int
    clip_min_ms: int
    pad_ms: int
    leading: bool
    trailing: bool
    use_grid: bool
    cap_windows: int

    @classmethod
    def of(cls, plan: Plan) -> Rules:
        clip_max_ms = round(plan.clip_max_s * 1000)
        return cls(
            gap_min_ms=round(plan.gap_min_s * 1000),
            clip_max_ms=clip_max_ms,
            clip_min_ms=round(plan.clip_min_s * 1000),
            pad_ms=round(plan.pad_s * 1000),
            leading=plan.leading,
            trailing=plan.trailing,
            use_grid=plan.without_transcript == "grid",
            cap_windows=max(1, round(plan.grid_unknown_duration_max_s * 1000) // clip_max_ms),
        )


@dataclass(frozen=True, kw_only=True)
class PlannedSource:
    """A source and what became of it. `spans_ms` is empty unless it is `planned`."""

    entry: SourceEntry
    outcome: str = "failed"
    reason: str | None = None
    detail: str | None = None
    texts: Mapping[str, str | None] = field(default_factory=dict)
    meta: str | None = None
    transcript_kind: str = "none"
    transcript_lang: str | None = None
    duration_ms: int | None = None
    media: str | None = None
    spans_ms: list[Span] = field(default_factory=list)
    given: list[dict[str, Any]] | None = None  # the clips (GIVEN_CLIP) of a source whose list gives them

    @property
    def clips(self) -> list[dict[str, Any]]:
        """The clips, as GIVEN_CLIP."""
        return self.given if self.given is not None else [{"start_ms": at, "end_ms": end} for at, end in self.spans_ms]


#: A part's sources on their way into the plan, in listed order.
PLANNED = pa.schema(
    [
        *(typed for typed in SOURCES if typed.name not in {"clips", "first_unit", "attempt"}),
        PLAN.field("media"),
        pa.field("clips", pa.list_(GIVEN_CLIP)),
        *fields("caption_model", "clap_model"),
    ]
)


def to_planned(sources: Iterable[PlannedSource]) -> pa.Table:
    """Sources that were asked, as PLANNED."""
    return pa.Table.from_pylist([_row(source) for source in sources], schema=PLANNED)


def _row(source: PlannedSource) -> dict[str, Any]:
    return {
        **source.texts,
        "source_key": source.entry.source_key,
        "source_id": source.entry.source_id,
        "transcript_kind": source.transcript_kind,
        "transcript_lang": source.transcript_lang,
        "source_meta": source.meta,
        "duration_ms": source.duration_ms,
        "outcome": source.outcome,
        "reason": source.reason,
        "detail": source.detail,
        "media": source.media,
        "clips": source.clips,
        "caption_model": source.entry.caption_model,
        "clap_model": source.entry.clap_model,
    }


def given_sources(entries: pa.Table) -> pa.Table:
    """URLs whose clips are given, as PLANNED: nobody is asked."""
    keys, locations = (entries.column(name).to_pylist() for name in ("source_key", "location"))
    told = {name: entries.column(name) for name in (*TEXTS, "clips", "caption_model", "clap_model")}
    columns = {
        **told,
        "source_key": entries.column("source_key"),
        "source_id": pa.array([source_id_of(key) for key in keys]),
        "url": pc.coalesce(told["url"], entries.column("location")),
        "source_meta": pa.array([_meta({}, text) if text else None for text in entries.column("meta").to_pylist()]),
        "outcome": pa.repeat("planned", entries.num_rows),
        "media": pa.array([page_json(url) for url in locations]),
    }
    rows = entries.num_rows
    arrays = [columns.get(typed.name, pa.nulls(rows, typed.type)) for typed in PLANNED]
    return pa.table(arrays, names=PLANNED.names).cast(PLANNED)


def plan_source(entry: SourceEntry, rules: Rules, client: Callable[[], YtdlpClient]) -> PlannedSource:
    """The source with its clips or the reason why it has none. `client` is called only for a URL."""
    known = PlannedSource(entry=entry, texts=texts_of(vars(entry), TEXTS), meta=_meta({}, entry.meta))
    try:
        if entry.clips is not None:
            return _cut_as_given(_ask_file(known)[0], entry.clips, rules)
        if entry.kind == "file":
            known, transcript = _ask_file(known)
        else:
            known, transcript = _ask_site(known, client)
        return _cut(known, transcript, rules)
    except Fault as fault:
        outcome = "ended" if fault.reason == "opted_out" else "failed"  # its owner's wish is no failure of ours
        return replace(known, outcome=outcome, reason=fault.reason, detail=clean(fault.detail))


def _ask_site(known: PlannedSource, client: Callable[[], YtdlpClient]) -> tuple[PlannedSource, Transcript | None]:
    url = known.entry.location
    if not url.startswith(("https://", "http://")):
        raise Fault("unsupported", "neither a URL nor a YouTube id")
    info: SourceInfo = client().extract(url)
    site = texts_of(vars(info), TEXTS)
    found = replace(
        known,
        texts={name: known.texts.get(name) or site.get(name) for name in TEXTS},
        meta=_meta(info.meta, known.entry.meta),
        duration_ms=info.duration_ms,
        media=to_json(info.media),
    )
    return _with_transcript(found, info.transcript, info.transcript_kind, info.transcript_lang), info.transcript


def _ask_file(known: PlannedSource) -> tuple[PlannedSource, Transcript | None]:
    entry = known.entry
    if entry.sidecar:
        said = _read_sidecar(entry.sidecar)
        rest = {key: value for key, value in said.items() if key not in TEXTS}
        known = replace(known, texts={**known.texts, **texts_of(said, TEXTS)}, meta=_meta(rest, entry.meta))
    known = replace(known, duration_ms=_duration_ms(entry.location))
    transcript = _read_transcript(entry.transcript) if entry.transcript else None
    known = replace(known, media=to_json(FileMedia(path=entry.location)))
    return _with_transcript(known, transcript, "manual", None), transcript


def _with_transcript(
    known: PlannedSource, transcript: Transcript | None, kind: str, language: str | None
) -> PlannedSource:
    """A transcript without a single cue counts as none."""
    if transcript is None or not transcript.cues:
        return known
    return replace(known, transcript_kind=kind, transcript_lang=language)


def _cut(known: PlannedSource, transcript: Transcript | None, rules: Rules) -> PlannedSource:
    duration_ms = known.duration_ms
    if duration_ms is not None and duration_ms > MAX_MS:
        raise Fault("too_long", "the source says that it is longer than a week")
    if transcript is not None and transcript.cues:
        spans = gaps(
            transcript.covered_ms,
            duration_ms,
            gap_min_ms=rules.gap_min_ms,
            clip_max_ms=rules.clip_max_ms,
            clip_min_ms=rules.clip_min_ms,
            pad_ms=rules.pad_ms,
            leading=rules.leading,
            trailing=rules.trailing,
        )
        nothing = ("no_gaps", "its transcript leaves no gap that is long enough")
    elif rules.use_grid:
        spans = grid(duration_ms, rules.clip_max_ms, rules.clip_min_ms, rules.cap_windows)
        nothing = ("too_short", "it is shorter than the shortest clip")
    else:
        spans, nothing = [], ("no_transcript", "it has no transcript in a language of the recipe")
    if spans:
        return replace(known, outcome="planned", spans_ms=spans)
    reason, detail = nothing
    return replace(known, outcome="ended", reason=reason, detail=detail)


def _cut_as_given(known: PlannedSource, clips: list[dict[str, Any]], rules: Rules) -> PlannedSource:
    """A file's clips as its list has them: one that has no end goes to the end of the file."""
    kept: list[dict[str, Any]] = []
    reasons = []
    for clip in clips:
        spans, reason = _spans_of(clip, known, rules)
        kept += [{**clip, "start_ms": start, "end_ms": end} for start, end in spans]
        reasons += [reason] if reason else []
    if kept:
        return replace(known, outcome="planned", given=kept)
    return replace(known, outcome="ended", reason=reasons[0], detail="none of the clips that its list gives can be cut")


def _spans_of(clip: dict[str, Any], known: PlannedSource, rules: Rules) -> tuple[list[Span], str | None]:
    start, end = clip["start_ms"], clip["end_ms"]
    if end is not None:
        return [(start, end)], None  # settled when the list was read
    if known.duration_ms is None:
        raise Fault("undecodable", "the file does not say how long it is")
    length = known.duration_ms - start
    if length < rules.clip_min_ms:
        return [], "too_short"
    if length <= rules.clip_max_ms or (known.entry.over_clip_max == "keep" and length <= MAX_CLIP_MS):
        return [(start, start + length)], None
    if known.entry.over_clip_max != "split" or length > MAX_CLIP_MS:
        return [], "too_long"
    pieces = grid(length, rules.clip_max_ms, rules.clip_min_ms, 0)
    return [(start + at, start + to) for at, to in pieces], None


# Files.


def _open(location: str) -> Any:
    """A local file or an object, open for reading bytes; OSErrors come as Faults."""
    import fsspec

    return fsspec.open(location, "rb")


def _read_bounded(location: str, max_bytes: int, what: str) -> bytes:
    """At most one byte more than `max_bytes`."""
    try:
        with _open(location) as file:
            body: bytes = file.read(max_bytes + 1)
            return body
    except OSError as error:
        raise classify_file(error, what, remote="://" in location) from error


def _duration_ms(location: str) -> int | None:
    """From the container's header. Fault when there is no sound to be had."""
    from audio.decode import DecodeError, probe

    try:
        with _open(location) as file:
            info = probe(file)
    except DecodeError as error:
        raise Fault(error.reason, str(error)) from error
    except OSError as error:
        raise classify_file(error, "the file", remote="://" in location) from error
    if not info.has_audio:
        raise Fault("no_audio", "the file has no audio stream")
    return info.duration_ms


def _read_sidecar(location: str) -> dict[str, Any]:
    body = _read_bounded(location, MAX_SIDECAR_BYTES, "the sidecar")
    if len(body) > MAX_SIDECAR_BYTES:
        raise Fault("sidecar_broken", f"the sidecar is larger than {MAX_SIDECAR_BYTES} bytes")
    try:
        said = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Fault("sidecar_broken", "the sidecar is not JSON") from error
    if not isinstance(said, dict):
        raise Fault("sidecar_broken", "the sidecar is not a JSON object")
    return said


def _read_transcript(location: str) -> Transcript:
    try:
        return parse_transcript(_read_bounded(location, MAX_BYTES, "the transcript"))
    except TranscriptError as error:
        raise Fault("transcript_broken", str(error)) from error


# Untrusted text.


def _meta(said: Mapping[str, Any], listed: str | None) -> str | None:
    """JSON of what the site or sidecar says and, before it, the list; values out of proportion are left out."""
    merged = {**said, **(json.loads(listed) if listed else {})}
    kept = {str(key): value for key, value in merged.items() if _is_modest(value)}
    return clean(json.dumps(kept, sort_keys=True, ensure_ascii=False)) if kept else None


def _is_modest(value: Any) -> bool:
    """Plain JSON of a bounded size (NaN and infinity are no JSON)."""
    try:
        return len(json.dumps(value, allow_nan=False)) <= MAX_META_VALUE
    except (TypeError, ValueError, RecursionError):
        return False
