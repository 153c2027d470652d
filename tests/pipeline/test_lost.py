import logging

import pytest

from pipeline.lost import MAX_LOST_IN_A_ROW, RAY_LOGGER, LostBlocks, TooManyLost


def lose(count):
    for _ in range(count):
        logging.getLogger(RAY_LOGGER).error("An exception was raised", exc_info=RuntimeError("a worker\ndied"))


def test_lost_blocks_are_told_in_a_line_each_and_too_many_in_a_row_end_the_wave(caplog):
    with LostBlocks() as lost:
        lose(MAX_LOST_IN_A_ROW - 1)
        lost.see(False)
        lose(MAX_LOST_IN_A_ROW - 2)
        lost.see(True)
        with pytest.raises(TooManyLost, match="8 units were lost one after the other"):
            lose(1)
    assert caplog.messages[0] == "a unit was lost with its worker: a worker died"
    assert len(caplog.messages) == 2 * MAX_LOST_IN_A_ROW - 2
    lose(MAX_LOST_IN_A_ROW)  # nobody counts any more


def test_other_errors_of_rays_are_not_lost_blocks():
    with LostBlocks():
        for _ in range(MAX_LOST_IN_A_ROW):
            logging.getLogger(RAY_LOGGER).error("something else")


def test_ray_data_still_tells_that_logger():
    """The class of the graph that drops blocks is private to Ray Data: this is where it says so."""
    pytest.importorskip("ray.data._internal.execution.streaming_executor_state")
    from ray.data._internal.execution import streaming_executor_state

    assert streaming_executor_state.logger.name == RAY_LOGGER
