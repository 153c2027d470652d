"""yt-dlp extractor of the demo's site: what yt-dlp makes of `/watch/<id>` looks like a YouTube answer.

A template for a site of your own: a class named ...IE, a pattern for its pages, and `_real_extract` that returns
yt-dlp's info dict. yt-dlp finds it in every `<plugin dir>/<any name>/yt_dlp_plugins/extractor/`.
"""

from __future__ import annotations

from typing import Any

from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.utils import ExtractorError

#: What the answer's JSON and the info dict have in common.
SAME_IN_BOTH = (
    "title",
    "description",
    "uploader",
    "license",
    "duration",
    "upload_date",
    "view_count",
    "tags",
    "subtitles",
    "automatic_captions",
)


class DemoSiteIE(InfoExtractor):
    _VALID_URL = r"(?P<site>https?://127\.0\.0\.1:\d+)/watch/(?P<id>[0-9A-Za-z_-]{11})$"

    def _real_extract(self, url: str) -> dict[str, Any]:
        site, source_id = self._match_valid_url(url).group("site", "id")
        answer = self._ask(f"{site}/api/{source_id}.json", source_id)
        info = {name: answer.get(name) for name in SAME_IN_BOTH}
        return info | {"id": source_id, "webpage_url": url, "formats": answer["formats"]}

    def _ask(self, address: str, source_id: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._download_json(address, source_id, note="Downloading metadata")
        except ExtractorError as error:
            if isinstance(error.cause, HTTPError) and error.cause.status in (404, 410):
                said = f"HTTP Error {error.cause.status}: {error.cause.reason}"
                raise ExtractorError(f"Video unavailable: {said}", expected=True, cause=error.cause) from error
            raise
        return answer
