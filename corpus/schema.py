"""The clip is the row: every column a clip can have, from plan to corpus, with its Arrow type.

One row per planned clip. No stage adds or removes rows; a clip that is lost keeps its row and says why
(`outcome`, `reason`). The tables below are the only place where column types are written down.

Units: `*_ms` are milliseconds on the source's own time line, `*_hz` hertz, `*_dbfs` decibels relative to
full scale (a sine of amplitude 1.0 peaks at 0 dBFS), `*_db` a ratio of powers in decibels, `*_ratio` a share of the
clip's duration in [0, 1].
"""

from __future__ import annotations

import pyarrow as pa

#: Who the clip is. `clip_id` = `<source_id>_<start_ms>_<end_ms>` of the planned span, for ever.
IDENTITY = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("source_key", pa.string(), nullable=False),
        pa.field("unit_id", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("start_ms", pa.int64(), nullable=False),
        pa.field("end_ms", pa.int64(), nullable=False),
    ]
)

#: What the source says of itself. Untrusted text. `source_meta` is JSON: the rest the reference keeps.
SOURCE = pa.schema(
    [
        pa.field("url", pa.string()),
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("video_caption", pa.string()),
        pa.field("license", pa.string()),
        pa.field("uploader", pa.string()),
        pa.field("transcript_kind", pa.string()),  # manual, automatic, none
        pa.field("transcript_lang", pa.string()),
        pa.field("source_meta", pa.string()),
    ]
)

#: What became of the clip. Null `outcome` = still live in this leg.
OUTCOME = pa.schema(
    [
        pa.field("outcome", pa.string()),  # ok, filtered, merged, failed
        pa.field("reason", pa.string()),  # a short fixed word: see docs/terminology.md
        pa.field("detail", pa.string()),  # one sentence for a person
        pa.field("stage", pa.string()),  # the stage that ended it
        pa.field("attempt", pa.int16()),  # 0 for the first try
    ]
)

#: How to reach the media, JSON (see stages/media.py). In the plan only: addresses expire and may be signed.
#: `source_units` is how many consecutive units hold clips of this source.
PLAN_ONLY = pa.schema([pa.field("media", pa.string()), pa.field("source_units", pa.int32())])

#: Where the audio lies and what it measures.
AUDIO = pa.schema(
    [
        pa.field("tar", pa.string()),  # path relative to the run folder
        pa.field("tar_member", pa.string()),
        pa.field("tar_offset", pa.int64()),  # of the member's bytes, not of its header
        pa.field("tar_size", pa.int64()),
        pa.field("codec", pa.string()),
        pa.field("sample_rate_hz", pa.int32()),
        pa.field("num_samples", pa.int64()),
        pa.field("sha256", pa.string()),  # of the encoded member
        pa.field("pcm_sha256", pa.string()),  # of its samples as little-endian int16, before encoding
        pa.field("mono_fold_db", pa.float32()),  # the mono fold against its channels' mean power; null: nothing to fold
        pa.field("peak_dbfs", pa.float32()),
        pa.field("rms_dbfs", pa.float32()),
        pa.field("silence_ratio", pa.float32()),
        pa.field("clipping_ratio", pa.float32()),
        pa.field("dc_offset", pa.float32()),  # the mean sample, share of full scale, with its sign
        pa.field("bandwidth_hz", pa.int32()),  # where the content ends; 0 where there is none
        pa.field("speech_ratio", pa.float32()),
    ]
)

#: One picture of the clip, for an image captioner. Of its own, and not of AUDIO: it is large.
FRAME = pa.schema(
    [
        pa.field("frame_jpeg", pa.binary()),  # at most 384 px a side and 40 kB, unless the recipe says otherwise
        pa.field("frame_kind", pa.string()),  # media, video, storyboard, thumbnail
        pa.field("frame_reason", pa.string()),  # why there is none: one word of stages/frame_offers.py or faults.py
    ]
)

#: Columns that stay in the units' files and are not compacted: nothing that looks at all clips reads them.
UNIT_ONLY = ("frame_jpeg",)

#: Caption group. `joined_end_ms` is set on the first clip of a join, `merged_into` on the others.
CAPTION = pa.schema(
    [
        pa.field("video_caption_model", pa.string()),  # who made `video_caption`; null: the source brought it
        pa.field("caption", pa.string()),
        pa.field("caption_model", pa.string()),
        pa.field("caption_logprob", pa.float32()),
        pa.field("merged_into", pa.string()),
        pa.field("joined_end_ms", pa.int64()),
        pa.field("speech_word", pa.string()),  # the first such word or phrase of the caption, in lower case; null: none
        pa.field("music_word", pa.string()),
        pa.field("extra_word", pa.string()),  # of the recipe's own words
    ]
)

#: Score group. A score means something only with its model: name and weights' hash travel with it.
SCORE = pa.schema(
    [
        pa.field("clap_score", pa.float32()),
        pa.field("clap_model", pa.string()),
        pa.field("clap_audio_embedding", pa.list_(pa.float32())),
    ]
)

#: What copies of a clip are found by: see corpus/fingerprints.py. Of its own, and not of AUDIO: it is large.
FINGERPRINT = pa.schema([pa.field("fingerprint", pa.binary())])

#: What the dedup job says of the clips that are ok. A clip without copies is kept and has no group.
DEDUP = pa.schema(
    [
        pa.field("dup_group", pa.string()),  # clip_id of the copy that is kept, its own there
        pa.field("dup_keep", pa.bool_()),
        pa.field("dup_kind", pa.string()),  # exact, near; null for what is kept
        pa.field("dup_similarity", pa.float32()),  # share of fingerprint bits equal to the kept copy's; 0.5 is chance
    ]
)

#: Bytes and paths that live only while a leg runs: never committed as columns.
TRANSIENT = pa.schema(
    [
        pa.field("media_path", pa.string()),  # the source's audio on this node
        pa.field("audio", pa.large_binary()),  # the clip, encoded (FLAC)
    ]
)

#: One row per planned clip, as `plan/units/<part>.parquet` holds it.
PLAN = pa.schema([*IDENTITY, *SOURCE, *PLAN_ONLY])

#: One row per source of the plan, as `plan/sources/<part>.parquet` holds it.
SOURCES = pa.schema(
    [
        pa.field("source_key", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        *SOURCE,
        pa.field("duration_ms", pa.int64()),
        pa.field("clips", pa.int32(), nullable=False),
        pa.field("first_unit", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),  # planned, ended, failed
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("attempt", pa.int16(), nullable=False),
    ]
)

OUTCOMES = ("ok", "filtered", "merged", "failed")
SOURCE_OUTCOMES = ("planned", "ended", "failed")

ALL_COLUMNS: dict[str, pa.Field] = {
    field.name: field
    for group in (IDENTITY, SOURCE, PLAN_ONLY, OUTCOME, AUDIO, FRAME, CAPTION, SCORE, FINGERPRINT, DEDUP, TRANSIENT)
    for field in group
}


def fields(*names: str) -> pa.Schema:
    """The schema of the named columns, in the order given; KeyError on a name that no group has."""
    return pa.schema([ALL_COLUMNS[name] for name in names])


#: What a source's own list says of its clips. All parts of a plan have these columns, or none: those of plans that were
#: begun with such a list have. The root leg commits them, and a later leg's own hide them.
GIVEN = fields("caption", "caption_model", "clap_score", "clap_model")

#: Who wrote the captions, and measured the scores, of the published AutoReCap-XL files: LAION's CLAP, weights unknown.
PUBLISHED_MODEL = "AutoReCap-XL@published"

#: Where one clip's audio lies. The members of a join, the first included.
MEMBER = pa.struct(
    [
        pa.field("clip_id", pa.string()),
        pa.field("tar", pa.string()),
        pa.field("tar_member", pa.string()),
        pa.field("tar_offset", pa.int64()),
        pa.field("tar_size", pa.int64()),
        pa.field("num_samples", pa.int64()),
        pa.field("sha256", pa.string()),
    ]
)

#: One row per clip. `tar` to `sha256` are the clip's own (of a join: the first member's); `end_ms`, `duration_ms`,
#: `num_samples` and `audio_bytes` are the whole join's. `duration_ms` is that of the samples that are there.
VIEW = pa.schema(
    [
        *fields("clip_id", "source_id", "unit_id", "row", "start_ms", "end_ms"),
        pa.field("duration_ms", pa.int64(), nullable=False),
        *fields("caption", "caption_model", "clap_score", "clap_model", "title", "url", "license"),
        *fields("tar", "tar_member", "tar_offset", "tar_size", "codec", "sample_rate_hz", "num_samples", "sha256"),
        pa.field("audio_bytes", pa.int64()),
        pa.field("members", pa.list_(MEMBER)),
    ]
)
