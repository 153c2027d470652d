"""What a person can do about each reason for which a source or clip has failed: one sentence a reason."""

from __future__ import annotations

from stages.faults import RULES

ADVICE: dict[str, str] = {
    # of sources and of fetching: stages/faults.py
    "gone": "Nothing: it was removed; retry only if the address itself was wrong and is right now.",
    "private": "Give ytdlp.cookies_file of an account that may see it, then retry.",
    "age_restricted": "Give ytdlp.cookies_file of an account whose age the site knows, then retry.",
    "geo_blocked": "Run from, or through a proxy in, a country where it is shown, then retry.",
    "drm": "Nothing: its media are encrypted.",
    "live": "Wait until the stream has ended, then retry.",
    "playlist": "List its videos one by one as sources; this entry cannot become clips.",
    "unsupported": "Update yt-dlp or give an extractor in ytdlp.plugin_dirs, then retry.",
    "no_audio": "Nothing: it has no sound that can be used.",
    "undecodable": "Look at the media in a player; if the file was replaced or mended, retry.",
    "unreadable": "Give the user of the workers the right to read the file, then retry.",
    "empty_file": "Put the file in place; if it has content now, retry.",
    "too_large": "Raise the limit of the recipe's fetch stage (a new leg or run) if you want it.",
    "too_long": "Nothing: it says that it lasts for more than a week.",
    "transcript_broken": "Mend the transcript (or leave it out of the list), then retry.",
    "sidecar_broken": "Mend the .json beside the file, then retry.",
    "refused_address": "If the address is one of your own servers, allow it in the recipe's ytdlp section, then retry.",
    "opted_out": "Nothing: its site asks machines to leave it alone.",
    "http_other": "Look at the address in a browser: the server refuses it for another reason than the common ones.",
    "blocked": "Ask more slowly, from another address or with cookies; wait some hours, then retry.",
    "http_429": "Lower ytdlp.requests_per_s and retry after some hours.",
    "http_5xx": "The server's own trouble: retry later.",
    "timeout": "Retry later; if it stays, look at the network and at ytdlp.timeout_s.",
    "network": "Look at this machine's network, proxy and names, then retry.",
    "truncated": "Retry later: the server sent less than it announced.",
    "too_slow": "Raise max_download_s of the fetch stage, or retry when the site is less busy.",
    "tls": "Look at this machine's clock and certificates, then retry.",
    "transcript_empty": "The site distrusts this caller: wait, or give ytdlp.cookies_file, then retry.",
    "extractor_failed": "Update yt-dlp (pip install -U yt-dlp), then retry.",
    # of the stages
    "missing_bytes": "Retry: the media in the node's cache were damaged, and are fetched again.",
    "crashed": "It ends the process that works on it: report it as a bug, and retry after an update.",
    "bad_span": "Nothing: the plan holds a span that is none.",
    "no_media": "Put a fetch stage before cut in the recipe.",
    "audio_missing": "The corpus is damaged: autorecap verify says where; put the file back, then retry.",
    "bad_samples": "Nothing: its samples are no numbers.",
    "no_caption": "The captioner said nothing: retry with a mended captioner, or caption it in a leg of its own.",
    "no_embedding": "The clip could not be embedded: retry once embed works.",
}

#: Reasons of the stages that may be different another day, as those of stages/faults.py that are transient.
_PASSING = ("missing_bytes",)

#: For a reason of a user's own stage.
OF_A_STAGE = "The stage that is named ended it: its documentation says why; mend the cause, then retry."


def advice(reason: str) -> str:
    return ADVICE.get(reason, OF_A_STAGE)


def is_transient(reason: str) -> bool:
    """Whether it may be different another day, with nothing changed here."""
    return reason in transient_reasons()


def transient_reasons() -> list[str]:
    return [*(reason for reason, rule in RULES.items() if rule.transient), *_PASSING]
