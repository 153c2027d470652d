from pathlib import Path

import pytest

from captioner.metrics import java

needs_java = pytest.mark.skipif(java.missing("meteor") is not None, reason="METEOR needs Java")


@needs_java
@pytest.mark.slow
def test_meteor_takes_whatever_can_be_said_and_several_sets_in_one_start() -> None:
    references = [[["a", "dog", "is", "barking"]], [["a", "cat"]], [[]], [["|||"], ["b", "c"]]]
    first = [["a", "dog", "barks"], [], ["rain"], ["|||", "a"]]
    right = [["a", "dog", "is", "barking"], ["a", "cat"], ["rain"], ["b", "c"]]
    (corpus, clips), (corpus_of_right, clips_of_right) = java.meteor([first, right], references)
    assert clips.shape == (4,)
    assert 0 < clips[0] < clips_of_right[0]
    assert clips[1] == 0
    assert clips_of_right[0] == pytest.approx(1.0, abs=0.01)
    assert 0 < corpus < corpus_of_right <= 1


def test_without_java_every_program_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in java.PROGRAMS:
        assert "no `java` on the path" in str(java.missing(program))
    with pytest.raises(java.JavaError, match="install a Java runtime"):
        java.ptb_tokens(["a dog"])


@needs_java
def test_spice_names_the_files_it_lacks_and_fetches_none() -> None:
    reason = java.missing("spice")
    if reason is None:
        pytest.skip("SPICE's parser is installed here")
    assert "stanford-corenlp-3.6.0.jar and stanford-corenlp-3.6.0-models.jar" in reason
    with pytest.raises(java.JavaError, match="nothing is downloaded"):
        java.spice([[["a", "dog"]]], [[["a", "dog"]]])


@needs_java
def test_the_tokenizer_keeps_a_line_for_every_caption() -> None:
    assert java.ptb_tokens(["A dog.\nAnd a cat", "", "!?", "rain"]) == [
        ["a", "dog", "and", "a", "cat"],
        [],
        ["!?"],
        ["rain"],
    ]
