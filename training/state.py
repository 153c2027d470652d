"""The tensors of a checkpoint, by file.

    model.safetensors       the net as it is published, with averaged weights where there are any
    net.safetensors         what else the net is: parts that are not published, and the weights that were averaged
    optimizer.safetensors   <turn>/<parameter>/<exp_avg ...>

So that a checkpoint is a model folder, and nothing is in it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from scorer.weights import MODEL_FILE
from training.ema import Ema
from training.errors import TrainError
from training.learner import Learner
from training.optim import load_state, state_of
from training.whole import whole

NET_FILE, OPTIMIZER_FILE = "net.safetensors", "optimizer.safetensors"
State = dict[str, torch.Tensor]
Published = Callable[[str], str | None]


def kept(net: nn.Module) -> State:
    """Parameters and saved buffers by name; what is tied to another is there once."""
    parameters: dict[str, torch.Tensor] = dict(net.named_parameters())
    saved = net.state_dict()
    return parameters | {name: buffer for name, buffer in net.named_buffers() if name in saved}


def gathered(tensors: Iterable[tuple[str, torch.Tensor]], leads: bool) -> State:
    """Whole tensors, copied to the CPU of the first worker; the others take part and keep nothing."""
    out: State = {}
    for name, tensor in tensors:
        full = whole(tensor.detach())
        if leads:
            out[name] = full.to("cpu", copy=True).contiguous()
    return out


def model_state(net: nn.Module, ema: Ema | None, published: Published, leads: bool) -> State:
    """model.safetensors."""
    values = kept(net) | ({} if ema is None else ema.values)
    return gathered(((out, tensor) for name, tensor in values.items() if (out := published(name)) is not None), leads)


def net_state(net: nn.Module, ema: Ema | None, published: Published, leads: bool) -> State:
    """net.safetensors."""
    averaged = {} if ema is None else ema.values
    rest = ((name, tensor) for name, tensor in kept(net).items() if published(name) is None or name in averaged)
    return gathered(rest, leads)


def optimizer_state(learners: Sequence[Learner], leads: bool) -> State:
    """optimizer.safetensors."""
    return gathered(
        (
            (f"{learner.turn.name}/{name}", value)
            for learner in learners
            for name, value in state_of(learner.optimizer, learner.parameters)
        ),
        leads,
    )


@torch.no_grad()
def load_net(folder: Path, net: nn.Module, published: Published) -> None:
    """A checkpoint's weights into a net that is not spread yet; TrainError where they are not this net's."""
    model, rest = load_file(folder / MODEL_FILE), load_file(folder / NET_FILE)
    for name, tensor in kept(net).items():
        value = rest.get(name, model.get(published(name) or ""))
        if value is None or value.shape != tensor.shape:
            found = "lacks" if value is None else f"has in shape {tuple(value.shape)}"
            raise TrainError(f"{folder} {found} {name}, which is {tuple(tensor.shape)} here")
        tensor.copy_(value)


def load_ema(folder: Path, ema: Ema, published: Published) -> None:
    model = load_file(folder / MODEL_FILE)
    ema.load({name: model[published(name) or ""] for name in ema.values})


def load_optimizers(folder: Path, learners: Sequence[Learner]) -> None:
    state = load_file(folder / OPTIMIZER_FILE)
    for learner in learners:
        load_state(learner.optimizer, learner.parameters, _below(state, f"{learner.turn.name}/"))


def _below(state: Mapping[str, torch.Tensor], prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
