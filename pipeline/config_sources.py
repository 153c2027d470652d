"""What a recipe's `sources` may hold: lists of URLs, folders, and three kinds of lists that bring their clips along.

Every key is explained in docs/sources.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A part of a recipe: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


#: Names a folder of sources for ever, wherever it lies.
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

#: Who wrote a caption or measured a score.
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./@-]{1,128}$")]


class UrlListSource(Section):
    """A list of URLs or YouTube ids: a file (txt, csv, jsonl, parquet) or the entries themselves."""

    type: Literal["urls"]
    path: str | None = None
    items: list[str] = Field(default_factory=list)


class FolderSource(Section):
    """A local folder or an fsspec URL of media files, each with an optional sidecar `<stem>.json`.

    `name`: sources are then known as `<name>/<path below the folder>`, wherever the folder lies.
    """

    type: Literal["folder"]
    path: str
    recursive: bool = True
    name: FolderName | None = None


class _GivenClips(Section):
    """Filters of lists whose clips have times. `over_clip_max`: what becomes of clips longer than plan.clip_max_s."""

    min_clap: float | None = Field(default=None, ge=-1, le=1)
    min_len_s: float = Field(default=0.0, ge=0, le=3600)
    over_clip_max: Literal["keep", "split", "drop"] = "keep"


class AutoRecapSource(_GivenClips):
    """A published AutoReCap-XL file: one JSON object a line, clips with captions and CLAP scores; also .gz and .zst."""

    type: Literal["autorecap"]
    path: str


class ClipListSource(_GivenClips):
    """A table (parquet, csv, jsonl) of clips: `id` or `url`, `start_s` and `end_s` (or `_ms`), perhaps captions."""

    type: Literal["clips"]
    path: str
    caption_model: ModelName = "given"
    clap_model: ModelName = "given"


class CaptionColumns(Section):
    """Names of a caption table's columns, where they are not those of its style."""

    file: str | None = None
    captions: list[str] | None = Field(default=None, min_length=1)
    start_s: str | None = None


class CaptionTableSource(_GivenClips):
    """A caption data set's own table and, but for AudioCaps by URL, the folder of its recordings."""

    type: Literal["captions"]
    style: Literal["clotho", "audiocaps", "wavcaps"]
    path: str
    folder: str | None = None
    name: FolderName | None = None
    columns: CaptionColumns = Field(default_factory=CaptionColumns)
    clip_s: float = Field(default=10.0, gt=0, le=600)
    caption_model: ModelName | None = None

    @model_validator(mode="after")
    def _has_its_sound(self) -> CaptionTableSource:
        if self.folder is None and self.style != "audiocaps":
            raise ValueError(f"style {self.style} needs the `folder` of its recordings")
        return self


GivenSource = AutoRecapSource | ClipListSource | CaptionTableSource
AnySource = UrlListSource | FolderSource | GivenSource
Source = Annotated[AnySource, Field(discriminator="type")]


#: The lists that may bring captions and scores of their own.
GIVING_TYPES = frozenset({"autorecap", "clips", "captions"})
