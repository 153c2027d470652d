import pytest

from captioner.metrics import java
from captioner.metrics.tokens import tokenize

#: Written as people write captions; every line comes out of Stanford's tokenizer as out of ours.
CAPTIONS = """
A dog barks, then a man's voice is heard.
Two people's dogs aren't barking; it's 5:30 o'clock (loud), "wow"!
An x-ray machine hums... cannot stop - and I'm gonna go
U.S. army e.g. Mr. Smith's 3.5 kHz 1,000 dogs' $5 a/b & c ... well-known.
Birds chirp – wind blows — don’t “smart” it’s ‘single’ … dots
okay -- fine- no --- what?! yes!! hello..
A car (engine) starts [noise] {x} 50% 1/2 10km #hash @at under_score * star ~
Café naïve: A, B and C; water gurgles/flows http://x.com/y a@b.com
note by J. Smith
A 10-second tone at 9 a.m. in the 1990s, 20kHz
a beep-beep... then silence 'no'.
they'd he'll we've you're gimme lemme wanna

...
""".strip("\n").split("\n")  # fmt: skip


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A man's dog can't bark; it's loud!", ["a", "man", "'s", "dog", "ca", "n't", "bark", "it", "'s", "loud"]),
        ("dogs' toys", ["dogs", "toys"]),
        ("x-ray machine at 5:30 o'clock, 1,000 Hz", ["x-ray", "machine", "at", "5:30", "o'clock", "1,000", "hz"]),
        ("(loud) noise", ["-lrb-", "loud", "-rrb-", "noise"]),
        ("", []),
        (" ... !", []),
        ("one\ntwo\tthree", ["one", "two", "three"]),
    ],
)
def test_tokens(caption: str, tokens: list[str]) -> None:
    assert tokenize(caption) == tokens


@pytest.mark.skipif(java.missing("ptb") is not None, reason="Stanford's tokenizer needs Java")
def test_captions_come_out_as_from_stanfords_tokenizer() -> None:
    assert [tokenize(caption) for caption in CAPTIONS] == java.ptb_tokens(CAPTIONS)
