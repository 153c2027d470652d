"""What a training of GenAU does: the typed form of configs/genau_*.yaml (the denoiser) and configs/vae.yaml (the VAE).

Every mistake of a file is told at once. Each key is explained where it is set, in the files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from genau.diffusion import FIRST_BETA, LAST_BETA, STEPS, Prediction
from genau.fit import LARGE, SMALL, TINY, FitShape
from genau.vae import VaeShape
from generation.data_recipe import Corpus, Data, Share
from training.settings import (
    HOW,
    Execution,
    KeepSettings,
    LoopSettings,
    OptimizerSettings,
    ScheduleSettings,
    Section,
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Prompt = Annotated[str, Field(min_length=1, max_length=1000)]
Width = Annotated[int, Field(ge=16, le=8192, multiple_of=16)]
FITS = {"tiny": TINY, "small": SMALL, "large": LARGE}


class Start(Section):
    """Weights to go on from. `checkpoint`: a model folder, a published file, or a training's own output."""

    checkpoint: str | None = None
    #: A published checkpoint's YAML, for what its tensors cannot tell.
    config: str | None = None


class FitSizes(Section):
    """The preset, and what differs from it. Channels, steps and text width follow from VAE and text encoders."""

    preset: Literal["tiny", "small", "large"] = "small"
    patch: int | None = Field(default=None, ge=1, le=64)
    group: int | None = Field(default=None, ge=1, le=4096)
    patch_width: Width | None = None
    latent_width: Width | None = None
    latents: int | None = Field(default=None, ge=1, le=8192)
    blocks: int | None = Field(default=None, ge=1, le=64)
    local_layers: int | None = Field(default=None, ge=1, le=32)
    global_layers: int | None = Field(default=None, ge=1, le=32)
    context_width: Width | None = None
    datasets: int | None = Field(default=None, ge=1, le=10_000)
    head_width: int | None = Field(default=None, ge=8, le=512, multiple_of=8)
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None

    def shape(self, *, channels: int, steps: int, text_width: int) -> FitShape:
        """ValueError where the sizes do not divide as FIT needs it."""
        given = {key: value for key, value in self.model_dump(exclude={"preset"}).items() if value is not None}
        sizes = vars(FITS[self.preset]) | given
        shape = FitShape(**(sizes | {"channels": channels, "steps": steps, "text_width": text_width}))
        if steps % (shape.patch * shape.group):
            raise ValueError(f"{steps} latent steps are no whole number of groups of {shape.group} x {shape.patch}")
        if shape.latents % shape.groups:
            raise ValueError(f"{shape.latents} latent tokens cannot be shared among {shape.groups} groups")
        for width in (shape.patch_width, shape.latent_width, min(shape.latent_width, shape.context_width)):
            if width % shape.head_width:
                raise ValueError(f"a width of {width} is no whole number of heads of {shape.head_width}")
        return shape

    @model_validator(mode="after")
    def _heads_fit(self) -> FitSizes:
        self.shape(channels=16, steps=256, text_width=16)
        return self


class TextSettings(Section):
    """What the net is told of a caption. Names as generation.conditioners.load_conditioner takes them."""

    encoders: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field(min_length=1, max_length=8)
    audio_share: Share = 0.0
    t5_pooling: Literal["tokens", "padded"] = "tokens"
    clap_tokenizer: str | None = None
    cache_dir: str | None = None
    cache_mb: int = Field(default=4096, ge=1, le=10_000_000)


class Diffusion(Section):
    """The lesson itself. What differs from the reference by default is in docs/genau.md."""

    steps: int = Field(default=STEPS, ge=2, le=100_000)
    first_beta: float = Field(default=FIRST_BETA, gt=0, lt=1)
    last_beta: float = Field(default=LAST_BETA, gt=0, lt=1)
    prediction: Prediction = "noise"
    #: What latents are multiplied by: from the first batch's deviation, or this number.
    scale_factor: Literal["first_batch"] | Annotated[float, Field(gt=0, le=1000)] = "first_batch"
    drop_condition: Share = 0.1
    drop_per: Literal["item", "batch"] = "item"
    self_conditioning: Share = 0.5

    @model_validator(mode="after")
    def _grows(self) -> Diffusion:
        if self.first_beta >= self.last_beta:
            raise ValueError(f"first_beta ({self.first_beta:g}) must be below last_beta ({self.last_beta:g})")
        return self


class Validation(Section):
    """Held-out clips, and sounds made of prompts. No corpora: no validation."""

    corpora: list[Corpus] = Field(default_factory=list)
    max_clips: int = Field(default=200, ge=1, le=1_000_000)
    prompts: list[Prompt] = Field(default_factory=list, max_length=64)
    steps: int = Field(default=50, ge=1, le=999)
    guidance: float = Field(default=3.5, ge=0, le=100)


class _Training(Section):
    """What both trainings say."""

    name: Name
    seed: int = Field(default=0, ge=0, lt=2**31)
    start: Start = Field(default_factory=Start)
    data: Data
    validation: Validation = Field(default_factory=Validation)
    #: Of one pass on each worker.
    batch_clips: int = Field(ge=1, le=65_536)
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    loop: LoopSettings
    keep: KeepSettings = Field(default_factory=KeepSettings)
    execution: Execution = Field(default_factory=Execution)

    def decisive(self) -> dict[str, object]:
        """What makes the weights what they are: a run that is gone on with must have the same."""
        how: Any = {
            "execution": True, "keep": True, "validation": True, "data": {"loader_workers"}, "batch_clips": True,
            "loop": HOW, "text": {"cache_dir", "cache_mb"},
        }  # fmt: skip
        return self.model_dump(mode="json", exclude=how)


class FitRecipe(_Training):
    """Stage 2: the denoiser."""

    net: FitSizes = Field(default_factory=FitSizes)
    vae: str = "embedded"
    vocoder: str | None = None
    text: TextSettings
    #: Data sets' numbers; the last of `net.datasets` is none of them.
    datasets: dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[int, Field(ge=0, lt=10_000)]] = Field(
        default_factory=dict
    )
    #: None: the last number; 0 as the reference has it, which is AudioCaps' too.
    unconditional_id: int | None = Field(default=None, ge=0, lt=10_000)
    diffusion: Diffusion = Field(default_factory=Diffusion)

    @model_validator(mode="after")
    def _vectors_are_as_encode_makes_them(self) -> FitRecipe:
        if self.data.kind == "latents" and self.text.t5_pooling == "padded":
            raise ValueError("text.t5_pooling: the captions' vectors beside latents are means over tokens; set tokens")
        return self


class VaeSizes(Section):
    """The VAE's widths; the defaults are the published one's."""

    width: int = Field(default=512, ge=32, le=4096, multiple_of=32)
    multipliers: list[Annotated[int, Field(ge=1, le=16)]] = Field(default=[1, 2, 4], min_length=1, max_length=6)
    res_blocks: int = Field(default=3, ge=1, le=16)
    z_channels: int = Field(default=256, ge=1, le=4096)
    latent_channels: int = Field(default=64, ge=1, le=1024)

    def shape(self) -> VaeShape:
        return VaeShape(**(self.model_dump() | {"multipliers": tuple(self.multipliers)}))


class VaeLoss(Section):
    """See genau/vae_losses.py. `perceptual_files`: local files with LPIPS's weights; none: no perceptual loss."""

    kl: float = Field(default=1000.0, ge=0, le=1e9)
    perceptual: float = Field(default=1.0, ge=0, le=1e6)
    perceptual_files: list[str] = Field(default_factory=list, max_length=8)
    discriminator: float = Field(default=0.5, ge=0, le=1e6)
    discriminator_from: int = Field(default=20_001, ge=0)
    r1: float = Field(default=0.0, ge=0, le=1e6)


class VaeRecipe(_Training):
    """Stage 1: the VAE and its discriminator, which learn by the same optimiser settings."""

    net: VaeSizes = Field(default_factory=VaeSizes)
    loss: VaeLoss = Field(default_factory=VaeLoss)
    vocoder: str | None = None

    @model_validator(mode="after")
    def _hears_waves_on_whole_nets(self) -> VaeRecipe:
        if self.data.kind != "waves":
            raise ValueError("data.kind: a VAE learns from waves; latents are what it makes of them")
        if self.loop.parallel != "ddp":
            raise ValueError("loop.parallel: the adversarial loss looks at one whole weight of the decoder; set ddp")
        return self
