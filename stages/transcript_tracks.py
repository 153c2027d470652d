"""Which of a video's transcripts to read: manual before automatic, the recipe's languages in their order.

A language `en` takes the tracks `en`, `en-orig` and `en-US`, in that order. Of a track's forms json3 is
best (exact times), then WebVTT, then SubRip; others (TTML, HLS playlists) are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORMS = ("json3", "vtt", "srt")


@dataclass(frozen=True)
class Track:
    """One transcript to fetch: `url`, or `data` where the extractor has brought the text along."""

    kind: str  # manual, automatic
    language: str
    url: str | None
    data: str | None
    http_headers: Mapping[str, str]


def choose_track(info: Mapping[str, Any], languages: Sequence[str]) -> Track | None:
    """The best track in one of `languages`, or None."""
    for kind, key in (("manual", "subtitles"), ("automatic", "automatic_captions")):
        tracks = info.get(key)
        if not isinstance(tracks, Mapping):
            continue
        for wanted in languages:
            for language in _matching(tracks, wanted):
                if form := _best_form(tracks[language]):
                    headers = form.get("http_headers") or {}
                    return Track(kind, language, form.get("url"), form.get("data"), headers)
    return None


def _matching(tracks: Mapping[str, Any], wanted: str) -> list[str]:
    """The keys of that language: the plain one, the one that is the original, then its regions by name."""
    plain = wanted.lower()
    found = [key for key in tracks if _spoken(key) == plain or _spoken(key).startswith(f"{plain}-")]
    return sorted(found, key=lambda key: (_spoken(key) != plain, _spoken(key) != f"{plain}-orig", key))


def _spoken(key: str) -> str:
    return str(key).lower().replace("_", "-")


def _best_form(forms: Any) -> Mapping[str, Any] | None:
    usable = [
        form
        for form in (forms if isinstance(forms, list) else [])
        if isinstance(form, Mapping)
        and form.get("ext") in FORMS
        and (form.get("data") or form.get("url"))
        and not str(form.get("protocol") or "").startswith("m3u8")
    ]
    return min(usable, key=lambda form: FORMS.index(form["ext"]), default=None)
