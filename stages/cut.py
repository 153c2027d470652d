"""Cut the clips out of their sources' audio: decoded only where a clip lies, mono, one rate, FLAC.

    - use: cut
      sample_rate_hz: 48000

Rows of one source are cut with its file opened once. A clip that the source's end cuts short keeps its planned id
and span: `num_samples` tells what there is. Two measures can be taken here only: `pcm_sha256`, of the samples before
they are encoded (equal for equal sound, whoever encodes it), and `mono_fold_db`, while there are channels to fold.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import pyarrow as pa
from annotated_types import Ge, Le

from corpus.schema import fields
from stages import ranged_fetch
from stages.base import Ending, Needs, Services, Watch, unwatched, with_columns, with_endings
from stages.partial import MissingBytes, PartialMedia, PartialStore

if TYPE_CHECKING:
    from audio.decode import AudioSource

#: A tail shorter than this share of its planned span, or than this time, is not worth keeping.
TAIL_MIN_SHARE = 0.2
TAIL_MIN_MS = 500

#: Opening a file, or decoding a clip of it, that takes longer is a decoder that hangs. Without an index hours of audio
#: may have to be decoded before a clip.
DECODE_LIMIT_S = 600.0


@dataclass(kw_only=True)
class Cut:
    """`sample_rate_hz`: what every clip is resampled to."""

    sample_rate_hz: Annotated[int, Ge(8000), Le(192_000)] = 48_000

    reads: ClassVar[tuple[str, ...]] = ("media_path", "start_ms", "end_ms")
    adds: ClassVar[pa.Schema] = fields(
        "audio", "codec", "sample_rate_hz", "num_samples", "sha256", "pcm_sha256", "mono_fold_db"
    )

    def __post_init__(self) -> None:
        self._watch: Watch = unwatched

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        self._watch = services.watch

    def run(self, clips: pa.Table) -> pa.Table:
        rows = clips.select(["clip_id", *self.reads]).to_pylist()
        cuts: list[_Piece | Ending] = [_NO_MEDIA] * len(rows)
        for path, places in _by_source(rows).items():
            self._cut_source(path, places, rows, cuts)
        pieces = [cut if isinstance(cut, _Piece) else None for cut in cuts]
        columns = {
            "audio": [piece and piece.audio for piece in pieces],
            "codec": [piece and "flac" for piece in pieces],
            "sample_rate_hz": [piece and self.sample_rate_hz for piece in pieces],
            "num_samples": [piece and piece.num_samples for piece in pieces],
            "sha256": [piece and hashlib.sha256(piece.audio).hexdigest() for piece in pieces],
            "pcm_sha256": [piece and piece.pcm_sha256 for piece in pieces],
            "mono_fold_db": [piece and piece.mono_fold_db for piece in pieces],
        }
        clips = with_columns(clips, columns, self.adds)
        return with_endings(clips, [cut if isinstance(cut, Ending) else None for cut in cuts])

    def _cut_source(
        self,
        path: str,
        places: list[int],
        rows: list[dict[str, Any]],
        cuts: list[_Piece | Ending],
    ) -> None:
        """Cut the rows at `places`, all of the file at `path`, into `cuts`."""
        from audio.decode import AudioSource, DecodeError

        if Path(path).name == ranged_fetch.NAME:
            for at in places:
                with self._watch("decode", rows[at]["clip_id"], limit_s=DECODE_LIMIT_S):
                    cuts[at] = self._cut_partial(Path(path), rows[at]["start_ms"], rows[at]["end_ms"])
            return
        try:
            with self._watch("open media", rows[places[0]]["clip_id"], limit_s=DECODE_LIMIT_S):
                opened = AudioSource(path)
            with opened as source:
                for at in places:
                    with self._watch("decode", rows[at]["clip_id"], limit_s=DECODE_LIMIT_S):
                        cuts[at] = self._cut(source, rows[at]["start_ms"], rows[at]["end_ms"])
        except DecodeError as error:
            if not Path(path).exists():  # taken away since it was fetched: no clip's fault, the unit is tried again
                raise FileNotFoundError(f"{path} was there when it was fetched and is gone") from error
            for at in places:
                cuts[at] = Ending("failed", error.reason, str(error))

    def _cut_partial(self, path: Path, start_ms: int, end_ms: int) -> _Piece | Ending:
        """From media of which only some blocks are here: opened for each clip anew, as they were read by `fetch`."""
        from audio.decode import AudioSource, DecodeError

        if not path.exists():
            raise FileNotFoundError(f"{path} was there when it was fetched and is gone")
        media = PartialMedia(PartialStore(path))
        try:
            with AudioSource(media) as source:
                cut = self._cut(source, start_ms, end_ms)
        except DecodeError as error:
            cut = Ending("failed", error.reason, str(error))
        except MissingBytes as error:
            cut = Ending("failed", "missing_bytes", str(error))
        if media.fault is not None:  # whatever came of it: it did not see the whole of what it wanted
            return Ending("failed", "missing_bytes", str(media.fault))
        return cut

    def _cut(self, source: AudioSource, start_ms: int, end_ms: int) -> _Piece | Ending:
        from audio.codec import encode_pcm, pcm16, pcm_sha256
        from audio.decode import DecodeError

        if not 0 <= start_ms < end_ms:
            return Ending("failed", "bad_span", f"{start_ms} to {end_ms} ms is no span")
        try:
            wave, mono_fold_db = source.folded_segment(start_ms, end_ms, self.sample_rate_hz)
        except DecodeError as error:
            return Ending("failed", error.reason, str(error))
        got_ms = wave.size * 1000 / self.sample_rate_hz
        short = end_ms - start_ms - got_ms > 1
        if wave.size == 0 or (short and got_ms < max(TAIL_MIN_SHARE * (end_ms - start_ms), TAIL_MIN_MS)):
            ended = f"the audio ends {'before' if wave.size == 0 else f'{got_ms:.0f} ms into'} the clip"
            return Ending("filtered", "past_end", ended)
        pcm = pcm16(wave)
        return _Piece(encode_pcm(pcm, self.sample_rate_hz, "flac"), int(pcm.size), pcm_sha256(pcm), mono_fold_db)

    def close(self) -> None:
        """Nothing to give back."""


class _Piece(NamedTuple):
    """One clip, cut."""

    audio: bytes
    num_samples: int
    pcm_sha256: str
    mono_fold_db: float | None


_NO_MEDIA = Ending("failed", "no_media", "no stage fetched this clip's source")


def _by_source(rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Media path -> places of its rows, both in row order."""
    places: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if row["media_path"]:
            places.setdefault(row["media_path"], []).append(at)
    return places
