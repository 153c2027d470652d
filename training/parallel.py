"""The same lesson on one worker or many, its blocks computed as the recipe asks.

With DDP each worker has the whole net and the optimiser, and gradients are averaged. With FSDP (2) each has a part of
every tensor; blocks are put together when they are needed. Weights stay in float32 in both, so that both learn the
same: autocast makes the products bfloat16.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import distributed, nn
from torch.utils.checkpoint import checkpoint

from training.crew import Crew
from training.errors import TrainError
from training.lesson import Lesson
from training.settings import LoopSettings

#: (turn, inputs, step) -> (loss summed, other sums), joined with the other workers.
Joined = Callable[[str, Any, int], tuple[torch.Tensor, dict[str, torch.Tensor]]]


def prepare(lesson: Lesson[Any, Any], loop: LoopSettings, crew: Crew) -> None:
    """Blocks computed anew in the backward pass, compiled, spread: in this order, before any optimiser is made."""
    blocks = list(lesson.blocks())
    if (loop.recompute or loop.compile) and not blocks:
        raise TrainError("loop: this model names no blocks; set recompute: false, compile: false")
    for block in blocks:
        if loop.recompute:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if loop.compile:
            block.compile()
    if loop.parallel == "fsdp":
        _spread(lesson, crew)


@contextmanager
def compiling(asked: bool) -> Iterator[None]:
    """Blocks are compiled when they are first computed: what that lacks is told as TrainError."""
    if not asked:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainError(
            f"loop.compile: torch.compile failed ({why[0]}); it needs a C++ compiler (g++), on a GPU a C compiler and "
            "Triton: install them, or set compile: false"
        ) from error


def _spread(lesson: Lesson[Any, Any], crew: Crew) -> None:
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError:
        raise TrainError("loop.parallel: fsdp needs torch 2.6 or later; set ddp") from None
    if len(lesson.turns) > 1:
        raise TrainError("loop.parallel: fsdp is for one turn a step, not for a net and its discriminator; set ddp")
    if not distributed.is_initialized():
        raise TrainError("loop.parallel: fsdp needs workers to share with (execution.workers, or torchrun); set ddp")
    # Whoever writes into a block's output in place is to be warned; a lesson's net does not (Lesson.blocks).
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    for tensor in lesson.net.state_dict().values():
        distributed.broadcast(tensor, 0)
    mesh = init_device_mesh(crew.device.type, (crew.world,))
    for part in (*lesson.blocks(), lesson.net):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


def join(lesson: Lesson[Any, Any], loop: LoopSettings, crew: Crew) -> Joined:
    """The lesson with the gradients of all workers averaged, of the parameters that ask for one now."""
    if loop.parallel == "fsdp":
        return lesson
    return crew.joined(lesson, buffers=any(b.is_floating_point() for b in lesson.net.buffers()))


def alone(joined: Joined) -> AbstractContextManager[Any]:
    """Backward passes that do not tell the others yet. FSDP always tells: whole gradients are what it saves."""
    if isinstance(joined, nn.parallel.DistributedDataParallel):
        return joined.no_sync()
    return nullcontext()


@contextmanager
def put_together(net: nn.Module) -> Iterator[None]:
    """While the block runs each worker has the whole of a spread net: what one computes, the others need not."""
    parts: list[Any] = [part for part in net.modules() if hasattr(part, "set_reshard_after_forward")]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(True, recurse=False)
