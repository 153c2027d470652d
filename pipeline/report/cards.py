"""A clip as a page shows it: player, caption, score, title, source and place, all of it text that was made fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.clips import Clip
from pipeline.players import Player, Players
from pipeline.shown import clock, one_line, web_address

TEXT_LIMIT = 240


@dataclass(frozen=True)
class Card:
    """What the templates print. `url` is None unless it may be linked; `fate` is empty for a clip that is ok."""

    clip_id: str
    caption: str
    title: str
    source: str
    url: str | None
    span: str
    length: str
    clap: str
    match: str
    fate: str
    player: Player


def cards(found: Iterable[tuple[Clip, float | None]], players: Players) -> list[Card]:
    """Clips, each with its match where a search found it."""
    return [_card(clip, match, players.of(clip)) for clip, match in found]


def _card(clip: Clip, match: float | None, player: Player) -> Card:
    ended = clip.outcome not in (None, "ok")
    return Card(
        clip_id=one_line(clip.clip_id, TEXT_LIMIT),
        caption=one_line(clip.caption, TEXT_LIMIT) or "(no caption)",
        title=one_line(clip.title, TEXT_LIMIT),
        source=one_line(clip.source_id, TEXT_LIMIT),
        url=web_address(clip.url),
        span=f"{clock(clip.start_ms)} – {clock(clip.end_ms)}",
        length=f"{(clip.end_ms - clip.start_ms) / 1000:.1f} s",
        clap="" if clip.clap_score is None else f"{clip.clap_score:.3f}",
        match="" if match is None else f"{match:.3f}",
        fate=one_line(f"{clip.outcome} / {clip.reason}" if ended else "", TEXT_LIMIT),
        player=player,
    )
