"""Training without a prompt now and then, so that guidance has something to lead away from. Never at generation."""

from __future__ import annotations

from typing import Literal

import torch

Unit = Literal["item", "batch"]


def dropped(count: int, share: float, generator: torch.Generator, per: Unit = "item") -> torch.Tensor:
    """(count,) bool on the generator's device: which clips of a batch lose their condition.

    `per="batch"`: all or none, one draw for them, as the reference has it.
    """
    draws = torch.rand(count if per == "item" else 1, generator=generator, device=generator.device)
    return (draws < share).expand(count)


def without(condition_BE: torch.Tensor, none_E: torch.Tensor, lost_B: torch.Tensor) -> torch.Tensor:
    """The condition (B, E), with `none_E`, what "no prompt" looks like, where it is lost."""
    return torch.where(lost_B[:, None].to(condition_BE.device), none_E.to(condition_BE), condition_BE)
