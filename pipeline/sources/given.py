"""Clips that a list brings along: their times made milliseconds, filtered, and every one that is left out counted.

    settle = Settler(source, plan)
    settle([(12.0, 21.5, "Wind blows", 0.47), (30, 29, None, None)])   # [(12000, 21500, "Wind blows", 0.47)]
    settle.left_out                                                     # Counter({"reversed": 1})

| left out as | when |
|---|---|
| `bad_time` | start or end is no finite number |
| `negative` | it starts before 0 |
| `reversed` | it ends at or before its start |
| `too_far` | it ends later than a week into the source |
| `no_clap` | `min_clap` is set and there is no score (the reference counts it as below any threshold) |
| `below_min_clap` | its score is below `min_clap` |
| `too_short` | shorter than `plan.clip_min_s` or `min_len_s` |
| `too_long` | longer than `plan.clip_max_s` and `over_clip_max: drop`; or longer than ten minutes |
| `duplicate` | the source has a clip of the same span already; the one that is listed first stays |

Clips that overlap are both kept: their ids differ. `over_clip_max: split` cuts a long clip into windows of
`plan.clip_max_s` with its caption and score each; `keep` (the default) leaves it as its caption describes it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from pipeline.config_sources import GivenSource
from stages.gaps import grid
from stages.page_texts import clean
from stages.transcript import MAX_MS

#: (start_ms, end_ms, caption, clap_score)
Clip = tuple[int, int, str | None, float | None]

#: As a list has it: times in seconds, whatever their type; likewise the caption and the score.
RawClip = tuple[Any, Any, Any, Any]

#: No list's clip is longer, whatever it says.
MAX_CLIP_MS = 600_000

MAX_CAPTION_CHARS = 2000


class Settler:
    """Decides over the clips of one list. `left_out` counts by reason what it did not keep."""

    def __init__(self, source: GivenSource, *, clip_min_ms: int, clip_max_ms: int) -> None:
        self.left_out: Counter[str] = Counter()
        self._min_clap = source.min_clap
        self._min_ms = max(clip_min_ms, round(source.min_len_s * 1000))
        self._max_ms = clip_max_ms if source.over_clip_max != "keep" else MAX_CLIP_MS
        self._window_ms = clip_max_ms if source.over_clip_max == "split" else None

    def __call__(self, raw: Iterable[RawClip]) -> list[Clip]:
        """The clips that stay, in the order given."""
        kept: list[Clip] = []
        for start_s, end_s, caption, score in raw:
            start = start_s if type(start_s) is float else number(start_s)
            end = end_s if type(end_s) is float else number(end_s)
            try:
                start_ms, end_ms = round(start * 1000), round(end * 1000)  # type: ignore[operator]
            except (TypeError, ValueError, OverflowError):  # none, NaN, infinity
                self.left_out["bad_time"] += 1
                continue
            clap = score if type(score) is float and -1e9 < score < 1e9 else number(score)
            if reason := self._reason(start_ms, end_ms, clap):
                self.left_out[reason] += 1
                continue
            text = caption_of(caption)
            if end_ms - start_ms > self._max_ms and self._window_ms:
                windows = grid(end_ms - start_ms, self._window_ms, self._min_ms, 0)
                kept += [(start_ms + start, start_ms + end, text, clap) for start, end in windows]
            else:
                kept.append((start_ms, end_ms, text, clap))
        return kept

    def _reason(self, start_ms: int, end_ms: int, clap: float | None) -> str | None:
        if start_ms < 0:
            return "negative"
        length_ms = end_ms - start_ms
        if length_ms <= 0:
            return "reversed"
        if end_ms > MAX_MS:
            return "too_far"
        if self._min_clap is not None and (clap is None or clap < self._min_clap):
            return "no_clap" if clap is None else "below_min_clap"
        if length_ms < self._min_ms:
            return "too_short"
        if length_ms > self._max_ms and (self._window_ms is None or length_ms > MAX_CLIP_MS):
            return "too_long"
        return None

    def merged(self, clips: Sequence[Clip]) -> Sequence[Clip]:
        """A source's clips in time order, each span once: the first one listed."""
        if len(clips) < 2:
            return clips
        ordered = sorted(clips, key=itemgetter(0, 1))
        kept = [clip for at, clip in enumerate(ordered) if not at or clip[:2] != ordered[at - 1][:2]]
        if len(kept) < len(ordered):
            self.left_out["duplicate"] += len(ordered) - len(kept)
        return kept


def number(value: Any) -> float | None:
    """A finite number, also one written as text; None for anything else."""
    if value is None or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def caption_of(value: Any) -> str | None:
    """Text of a bounded length, or None."""
    if not isinstance(value, str):
        return None
    if not (value.isprintable() and len(value) <= MAX_CAPTION_CHARS):  # NUL and half surrogates are not printable
        value = clean(value, MAX_CAPTION_CHARS)
    return value.strip() or None


def as_given(clips: Iterable[Clip]) -> list[dict[str, Any]]:
    """Clips as an entry holds them."""
    names = ("start_ms", "end_ms", "caption", "clap_score")
    return [dict(zip(names, clip, strict=True)) for clip in clips]
