import numpy as np
import torch

from tests.genau_fill import golden, normals
from training.lamb import Lamb


def test_three_steps_are_the_references():
    vectors = golden("optim")
    named = {"p1": normals("p1", (7, 5)), "p2": torch.zeros(6), "p3": normals("p3", (40, 40))}
    params = {name: torch.nn.Parameter(value.clone()) for name, value in named.items()}
    optimizer = Lamb(params.values(), lr=5e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01)
    for step in range(3):
        for name, parameter in params.items():
            parameter.grad = normals(f"g{step}_{name}", tuple(parameter.shape), 0.1)
        optimizer.step()
        for name, parameter in params.items():
            wanted = vectors[f"{name}_step{step + 1}"]
            got = parameter.detach().numpy()[tuple(slice(size) for size in wanted.shape)]
            np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-7)


def test_a_weight_without_gradient_and_one_of_zeros_stay_sound():
    still, zero = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.zeros(3))
    optimizer = Lamb([still, zero], lr=0.1)
    zero.grad = torch.zeros(3)
    optimizer.step()
    assert torch.equal(still, torch.ones(3))
    assert torch.equal(zero, torch.zeros(3))
