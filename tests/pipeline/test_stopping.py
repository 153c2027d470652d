import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.stopping import Stopped, stoppable


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_becomes_stopped_with_the_shells_exit_code(signum):
    with pytest.raises(Stopped, match=signal.Signals(signum).name) as caught, stoppable():
        os.kill(os.getpid(), signum)
    assert caught.value.exit_code == 128 + signum


def test_handlers_are_put_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_plan_that_waits_for_a_site_stops_at_once(site, plugin_dir, tmp_path):
    url = site.watch("rain")
    site.answers["/watch/rain"] = [("retry-after", 429, 60)]
    (tmp_path / "trial.yaml").write_text(
        f"name: trial\nrun: {tmp_path / 'run'}\nsources: [{{type: urls, items: ['{url}']}}]\n"
        f"ytdlp: {{plugin_dirs: ['{plugin_dir}'], allow_private_addresses: [127.0.0.1/32]}}\n"
        "legs: {fetch: {stages: [{use: fetch}]}}\n"
    )
    command = [sys.executable, "-m", "pipeline.cli", "plan", str(tmp_path / "trial.yaml")]
    planner = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    while not site.asked:
        assert planner.poll() is None, planner.communicate()
        time.sleep(0.02)
    planner.send_signal(signal.SIGTERM)
    _, errors = planner.communicate(timeout=20)
    assert planner.returncode == 128 + signal.SIGTERM, errors
    assert "autorecap plan" in errors
