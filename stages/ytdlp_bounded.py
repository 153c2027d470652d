"""yt-dlp with a bound on what a page may list.

yt-dlp takes some 2 ms for each format that a page names, and looks at all of them: one hostile page would hold a worker
for minutes. Real pages name a few dozen; of more than MAX_LISTED the first are looked at.
"""

from __future__ import annotations

from typing import Any

from yt_dlp import YoutubeDL

#: Formats, languages of transcripts, forms of one transcript, thumbnails, chapters.
MAX_LISTED = 500
_LISTS = ("formats", "thumbnails", "chapters", "tags", "categories", "comments", "heatmap")
_TRACKS = ("subtitles", "automatic_captions")


class BoundedYoutubeDL(YoutubeDL):
    """Bounds an answer before yt-dlp sorts and completes it."""

    def process_video_result(self, info_dict: dict[str, Any], download: bool = True) -> Any:
        bound(info_dict)
        return super().process_video_result(info_dict, download=download)


def bound(info: dict[str, Any]) -> None:
    """Cut an extractor's lists to MAX_LISTED, in place."""
    for key in _LISTS:
        if isinstance(info.get(key), list):
            info[key] = info[key][:MAX_LISTED]
    for key in _TRACKS:
        if isinstance(info.get(key), dict):
            languages = list(info[key].items())[:MAX_LISTED]
            info[key] = {name: forms[:MAX_LISTED] if isinstance(forms, list) else forms for name, forms in languages}
