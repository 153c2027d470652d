"""From covered spans to clips: the stretches of a source where its transcript says nothing.

    gaps([(3000, 9000)], 30_000, gap_min_ms=1000, clip_max_ms=10_000, clip_min_ms=1000)
    # [(0, 3000), (9000, 19000), (19000, 29000), (29000, 30000)]

Curation steps 3 and 4 of the paper: a span longer than a second without a subtitle is taken for "no speech,
no music", and is limited to ten seconds. The paper does not say what becomes of the rest of a long gap;
here it is cut into consecutive pieces of `clip_max_ms`, and a remainder shorter than `clip_min_ms` is left
out.

All times are whole milliseconds. The clips returned are sorted and never overlap each other or the cover.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stages.transcript import Span, merge_spans


def gaps(
    covered_ms: Iterable[Span],
    duration_ms: int | None,
    *,
    gap_min_ms: int,
    clip_max_ms: int,
    clip_min_ms: int,
    pad_ms: int = 0,
    leading: bool = True,
    trailing: bool = True,
) -> list[Span]:
    """The clips between the covered spans.

    A gap counts when it is longer than `gap_min_ms` (before padding). `pad_ms` is kept free next to speech,
    not at the two ends of the source. `leading` and `trailing` say whether the gaps before the first and
    after the last cue count; a source without any cover is one gap that is both. An unknown duration ends
    with the last cue.
    """
    cover = merge_spans(covered_ms)
    if duration_ms is None:
        duration_ms = cover[-1][1] if cover else 0
    clips: list[Span] = []
    for start, end in _uncovered(cover, duration_ms):
        at_start, at_end = start == 0, end == duration_ms
        if (at_start and not leading) or (at_end and not trailing) or end - start <= gap_min_ms:
            continue
        padded = (start if at_start else start + pad_ms, end if at_end else end - pad_ms)
        clips.extend(_pieces(*padded, clip_max_ms, clip_min_ms))
    return clips


def grid(duration_ms: int | None, window_ms: int, min_ms: int, cap_windows: int) -> list[Span]:
    """Windows over a source without a transcript: `window_ms` each, a remainder only from `min_ms` on.

    An unknown duration gives `cap_windows` windows; those beyond the end are found out when the source is
    cut.
    """
    end_ms = cap_windows * window_ms if duration_ms is None else duration_ms
    return list(_pieces(0, end_ms, window_ms, min_ms))


def _uncovered(cover: list[Span], duration_ms: int) -> Iterator[Span]:
    at = 0
    for start, end in cover:
        if start >= duration_ms:
            break
        if start > at:
            yield at, start
        at = max(at, end)
    if at < duration_ms:
        yield at, duration_ms


def _pieces(start_ms: int, end_ms: int, max_ms: int, min_ms: int) -> Iterator[Span]:
    for at in range(start_ms, end_ms, max_ms):
        piece_end = min(at + max_ms, end_ms)
        if piece_end - at >= min_ms:
            yield at, piece_end
