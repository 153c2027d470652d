"""Which parameters learn, by name, and what mode the others are in.

A pattern is a parameter's name with `*` for any run of characters: `decoder.*`, `encoder.audio_enc.layers.*.mlp.fc1.*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from captioner.autocap.train_recipe import Freeze
from training.errors import TrainError


def freeze(net: nn.Module, rules: Freeze) -> tuple[int, int]:
    """Set `requires_grad` by the rules; (numbers that learn, numbers that do not). TrainError lists bad patterns."""
    names = [name for name, _ in net.named_parameters()]
    idle = [p for p in (*rules.frozen, *rules.trained) if not any(fnmatchcase(name, p) for name in names)]
    if idle:
        some = ", ".join(sorted({re.sub(r"\.\d+\..*", ".*", name) for name in names})[:12])
        raise TrainError(f"freeze: no parameter is called {', '.join(map(repr, idle))}; there are {some} …")
    learns, rests = 0, 0
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not _any(name, rules.frozen) or _any(name, rules.trained))
        if parameter.requires_grad:
            learns += parameter.numel()
        else:
            rests += parameter.numel()
    if not learns:
        raise TrainError("freeze: every parameter is frozen; nothing would learn")
    return learns, rests


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def training_mode(net: nn.Module, rules: Freeze) -> None:
    """Train mode; but parts in which nothing learns stay as they are heard later: no dropout, statistics that stand."""
    net.train()
    if rules.frozen_parts == "eval":
        for module in _outermost(net):
            module.eval()


def _outermost(module: nn.Module) -> Iterable[nn.Module]:
    """The largest parts all of whose parameters are frozen."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        yield module
        return
    for child in module.children():
        yield from _outermost(child)
