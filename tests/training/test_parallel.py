import shutil

import pytest
import torch

from tests.small_lesson import SmallLesson, curve, plan, train
from training.errors import TrainError


def test_compile_without_a_compiler_says_what_it_needs(tmp_path):
    from torch._inductor import config

    with (
        config.patch({"cpp.cxx": ("/nowhere/g++",), "force_disable_caches": True}),
        pytest.raises(TrainError, match=r"loop.compile: torch.compile failed \(.*C\+\+ compiler.*compile: false"),
    ):
        train(SmallLesson(), tmp_path, plan(2, compile=True))
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_compiled_blocks_learn_what_they_learn_otherwise(tmp_path):
    for how in (True, False):
        train(SmallLesson(), tmp_path / str(how), plan(2, compile=how))
    losses = [[line["loss"] for line in curve(tmp_path / str(how))] for how in (True, False)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch._dynamo.reset()
