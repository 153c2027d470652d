import pytest
import torch

from training.mfu import PEAK_TFLOPS, mfu, peak_flops
from training.pace import Pace


def test_half_the_speed_is_a_half():
    assert mfu(1e12, 100.0, 2e14) == pytest.approx(0.5)
    assert mfu(None, 100.0, 2e14) is None


def test_a_cpu_has_no_peak():
    assert peak_flops(torch.device("cpu")) is None
    assert next(part for part in PEAK_TFLOPS if part in "NVIDIA H100 PCIe") == "H100 PCIe"


def test_the_pace_is_of_what_came_since_the_last_line():
    pace = Pace(1e12, 1e14)
    pace.step(10, 0.5, 0.1)
    pace.step(10, 0.5, 0.1)
    assert pace.numbers() == pytest.approx({"clips_per_s": 20.0, "waiting_share": 0.2, "mfu": 0.2})
    assert pace.text() == "20.0 clips/s MFU 20 % (20 % waiting for data)"
    pace.begin_again()
    assert pace.numbers()["clips_per_s"] == 0.0
    assert Pace(None, None).text().startswith("0.0 clips/s MFU - ")
