"""What a training run of AutoCap does: the typed form of configs/autocap_*.yaml.

Read by pipeline/autocap_train.py, every mistake at once, as the recipes of a corpus are. Each key is explained where it
is set, in configs/autocap_stage1.yaml and its neighbours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from training.settings import Execution, Section

Share = Annotated[float, Field(ge=0, le=1)]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]
#: One place may be written without the list.
Places = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]


class SmallSizes(Section):
    """Sizes of a net that is made from nothing, for a first run; the tower hears 64 mel bands as the published one."""

    tower_width: int = Field(default=16, ge=8, le=512, multiple_of=8)
    tower_depths: list[Annotated[int, Field(ge=1, le=32)]] = Field(default=[1, 1, 1, 1], min_length=4, max_length=4)
    queries: int = Field(default=32, ge=1, le=512)
    query_width: int = Field(default=64, ge=8, le=1024, multiple_of=8)
    query_layers: int = Field(default=2, ge=1, le=12)
    width: int = Field(default=128, ge=64, le=2048, multiple_of=64)
    layers: int = Field(default=2, ge=1, le=24)
    vocabulary: int = Field(default=1000, ge=300, le=60_000)


class Start(Section):
    """Where the weights come from: an AutoCap, or HTSAT and BART on their own, or chance."""

    checkpoint: str | None = None
    htsat: str | None = None
    bart: str = "facebook/bart-base"
    small: SmallSizes | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Start:
        given = [name for name in ("checkpoint", "htsat", "small") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given: a net starts from one of them")
        return self


class Data(Section):
    """`shards`: what `autorecap export` wrote, folders of tar files, tar files; or URLs of these."""

    shards: Places = Field(min_length=1)
    split: str = Field(default="train", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    loader_workers: int = Field(default=4, ge=0, le=256)
    shuffle_clips: int = Field(default=300, ge=1, le=1_000_000)


class Validation(Section):
    shards: Places = Field(default_factory=list)
    split: str = Field(default="valid", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    every_steps: int = Field(default=1000, ge=1)
    max_clips: int = Field(default=1000, ge=1)
    beams: int = Field(default=2, ge=1, le=16)


class Text(Section):
    """Metadata and captions."""

    keys: list[Literal["video_caption", "title", "description"]] = Field(default=["video_caption", "title"])
    drop_key: Share = 0.0
    caption_tokens: int = Field(default=30, ge=4, le=256)
    tag_spacing: Literal["stripped", "kept"] = "stripped"


class Clap(Section):
    """The CLAP token. `model`: a scorer as load_scorer names it; None: only what the shards carry."""

    model: str | None = None
    tokenizer: str | None = None
    position: Literal["encoder", "decoder"] = "encoder"
    cache_dir: str | None = None


class Augment(Section):
    time_stripes: int = Field(default=2, ge=0, le=16)
    time_stripe_frames: int = Field(default=64, ge=1, le=1024)
    mel_stripes: int = Field(default=2, ge=0, le=16)
    mel_stripe_bands: int = Field(default=8, ge=1, le=64)
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    audio_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    text_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    bart_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    mix: Share = 0.1
    mix_background: Share = 0.5
    mix_background_snr_db: tuple[float, float] = (4.0, 12.0)
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _range_goes_up(self) -> Augment:
        low, high = self.mix_background_snr_db
        if not 0 <= low <= high <= 60:
            raise ValueError(f"mix_background_snr_db ({low:g} to {high:g}): wanted 0 <= low <= high <= 60")
        return self


class Freeze(Section):
    """Which parameters learn, by names with `*`: all but `frozen`, and of these again those of `trained`."""

    frozen: list[Pattern] = Field(default_factory=list)
    trained: list[Pattern] = Field(default_factory=list)
    frozen_parts: Literal["eval", "train"] = "eval"


class Optimizer(Section):
    type: Literal["adam", "adamw"] = "adam"
    peak_rate: float = Field(gt=0, le=1)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0, le=1)
    weight_decay: float = Field(default=1e-6, ge=0, le=1)
    clip_norm: float = Field(default=2.0, gt=0)
    epochs: float = Field(gt=0, le=10_000)
    warmup_epochs: float = Field(default=2.0, ge=0, le=10_000)
    batch_clips: int = Field(default=128, ge=1, le=65_536)
    accumulate: int = Field(default=1, ge=1, le=4096)
    precision: Literal["float32", "bfloat16"] = "float32"
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _warms_up_before_it_ends(self) -> Optimizer:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be below epochs ({self.epochs:g})")
        return self


class Keep(Section):
    """Checkpoints and logs."""

    every_steps: int = Field(default=1000, ge=1)
    last: int = Field(default=3, ge=1, le=1000)
    log_every_steps: int = Field(default=20, ge=1)
    tensorboard: bool = True


class TrainRecipe(Section):
    """The whole of a training recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    seed: int = Field(default=20, ge=0, lt=2**31)
    start: Start = Field(default_factory=Start)
    data: Data
    validation: Validation = Field(default_factory=Validation)
    text: Text = Field(default_factory=Text)
    clap: Clap = Field(default_factory=Clap)
    augment: Augment = Field(default_factory=Augment)
    freeze: Freeze = Field(default_factory=Freeze)
    optimizer: Optimizer
    keep: Keep = Field(default_factory=Keep)
    execution: Execution = Field(default_factory=Execution)

    @model_validator(mode="after")
    def _mixtures_can_be_heard(self) -> TrainRecipe:
        if self.augment.mix > 0 and self.clap.model is None:
            raise ValueError(
                "augment.mix is above 0 but clap.model names no scorer: no shard has embedded a mixture of two clips; "
                "name one, or set augment.mix: 0"
            )
        return self

    def decisive(self) -> dict[str, object]:
        """What makes the weights what they are: a run that is gone on with must have the same.

        Workers, clips of a pass and passes of a step may change, as long as a step has as many clips.
        """
        how: Any = {
            "execution": True, "keep": True, "validation": True, "data": {"loader_workers"}, "clap": {"cache_dir"},
            "optimizer": {"batch_clips", "accumulate"},
        }  # fmt: skip
        return self.model_dump(mode="json", exclude=how)
