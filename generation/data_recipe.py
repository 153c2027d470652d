"""What a generator is trained on: the section `data` of its recipe. Each key is explained in configs/genau_*.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from training.settings import Section

Share = Annotated[float, Field(ge=0, le=1)]
#: One place may be written without the list.
Places = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
Range = tuple[Annotated[float, Field(ge=-60, le=60)], Annotated[float, Field(ge=-60, le=60)]]


class Corpus(Section):
    """Shards that are drawn from together. `weight`: its share of the clips beside the other corpora's."""

    shards: Places = Field(min_length=1)
    split: str = Field(default="train", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    weight: float | None = Field(default=None, gt=0, le=1e6)
    dataset: str | None = Field(default=None, min_length=1, max_length=64)


class Filters(Section):
    """Clips that are passed over as they are read."""

    clap_min: float | None = Field(default=None, ge=-1, le=1)
    min_s: float = Field(default=0.0, ge=0, le=3600)
    max_s: float | None = Field(default=None, gt=0, le=86_400)
    max_caption_chars: int = Field(default=1000, ge=1, le=100_000)
    keep_silence: bool = False

    @model_validator(mode="after")
    def _range_goes_up(self) -> Filters:
        if self.max_s is not None and self.max_s < self.min_s:
            raise ValueError(f"max_s ({self.max_s:g}) is below min_s ({self.min_s:g}): no clip could pass")
        return self


class Mixing(Section):
    """Two clips as one: `share` of the clips get another under them, `background` of these softly."""

    share: Share = 0.0
    background: Share = 0.5
    beside_snr_db: Range = (-3.0, 3.0)
    background_snr_db: Range = (6.0, 15.0)

    @model_validator(mode="after")
    def _ranges_go_up(self) -> Mixing:
        for name in ("beside_snr_db", "background_snr_db"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} ({low:g} to {high:g}): wanted the lower one first")
        return self


class Data(Section):
    """`kind`: waves are what `autorecap export` writes, latents what `autorecap genau encode` makes of it."""

    kind: Literal["waves", "latents"] = "waves"
    corpora: list[Corpus] = Field(min_length=1)
    filters: Filters = Field(default_factory=Filters)
    mix: Mixing = Field(default_factory=Mixing)
    loader_workers: int = Field(default=4, ge=0, le=256)
    shuffle_clips: int = Field(default=1000, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _makes_sense(self) -> Data:
        weighed = [corpus.weight is not None for corpus in self.corpora]
        if any(weighed) and not all(weighed):
            raise ValueError("corpora: give each a weight, or none: without, each clip comes as often as any other")
        if self.kind == "latents" and self.mix.share > 0:
            raise ValueError("mix.share is above 0 but latents cannot be mixed; train on waves, or set mix.share: 0")
        return self
