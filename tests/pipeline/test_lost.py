import pytest

from pipeline.lost import MAX_LOST_IN_A_ROW, LostUnits, TooManyLost


def test_lost_units_are_told_in_a_line_each_and_too_many_in_a_row_end_the_wave(caplog):
    lost = LostUnits()
    for at in range(MAX_LOST_IN_A_ROW - 1):
        lost.gone(f"00000-{at:05d}", RuntimeError("a worker\ndied"))
    lost.see(False)
    for _ in range(MAX_LOST_IN_A_ROW - 2):
        lost.see(True)
    lost.gone("00001-00000", RuntimeError("a worker\ndied"))
    with pytest.raises(TooManyLost, match="8 units were lost one after the other"):
        lost.see(True)
    assert caplog.messages[0] == "unit 00000-00000 was lost with its worker: a worker died"
    assert len(caplog.messages) == MAX_LOST_IN_A_ROW
