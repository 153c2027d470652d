import logging
import os
import sys
import threading

from training.bar import Bar


def terminal(monkeypatch):
    """Makes sys.stderr a terminal; gives a function that closes it and tells what was on it."""
    reading, writing = os.openpty()
    screen = []

    def read():
        while True:
            try:
                screen.append(os.read(reading, 65536))
            except OSError:  # the other end is closed
                return

    thread = threading.Thread(target=read)
    thread.start()
    file = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def end():
        file.close()
        thread.join()
        os.close(reading)
        return b"".join(screen).decode()

    return end


def test_a_terminal_gets_a_bar_and_log_lines_above_it(monkeypatch):
    end = terminal(monkeypatch)
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    bar = Bar("rain", 2, 8)
    assert bar.live
    bar.show(5, "loss 0.5 12.0 clips/s")
    logging.getLogger("training.bar").warning("a shard is damaged")
    bar.close()
    assert handler.stream is sys.stderr
    logging.getLogger().removeHandler(handler)
    shown = end()
    for part in ("rain", "5/8", "loss 0.5 12.0 clips/s", "a shard is damaged"):
        assert part in shown


def test_elsewhere_there_is_no_bar(capsys):
    bar = Bar("rain", 0, 8)
    assert not bar.live
    bar.show(1, "text")
    bar.close()
    assert capsys.readouterr().err == ""
