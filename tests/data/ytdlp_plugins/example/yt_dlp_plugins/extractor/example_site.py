"""An extractor for the tests' own site: it reads the JSON of a watch page, as a YouTube-like answer."""

from __future__ import annotations

from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import ExtractorError


class ExampleSiteIE(InfoExtractor):
    _VALID_URL = r"http://127\.0\.0\.1:\d+/watch/(?P<id>[A-Za-z0-9_-]+)"

    def _real_extract(self, url):
        video_id = self._match_id(url)
        page = self._download_json(url, video_id)
        if page.get("says"):
            raise ExtractorError(page["says"], expected=True)
        if page.get("geo"):
            self.raise_geo_restricted(countries=["NZ"])
        if page.get("broken"):
            raise TypeError("this extractor is out of date")
        return {"id": video_id, **page}
