import os
import signal

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
