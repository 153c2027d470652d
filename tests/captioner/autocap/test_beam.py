import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from captioner.autocap.beam import beam_search, no_ngram_twice
from captioner.autocap.decoder import Decoder
from captioner.autocap.net import EOS
from tests.small_autocap import VOCABULARY, WIDTH, small_net


def theirs(bart, states, mask, beams):
    """The plain way: transformers' generate with bart-base's settings as the reference uses them."""
    return bart.generate(
        encoder_outputs=BaseModelOutput(states.clone()), attention_mask=mask, num_beams=beams, max_length=30,
        do_sample=False, early_stopping=beams > 1, length_penalty=1.0, no_repeat_ngram_size=3,
        forced_bos_token_id=0, forced_eos_token_id=2, decoder_start_token_id=2, pad_token_id=1, eos_token_id=2,
    )  # fmt: skip


def filled_up(ids):
    return torch.nn.functional.pad(ids, (0, 30 - ids.shape[1]), value=1)


@pytest.mark.parametrize("beams", [1, 2, 3, 4])
@pytest.mark.parametrize("eager", [0.0, 3.0, 4.0])
def test_ids_are_those_of_the_plain_search(beams, eager):
    """`eager`: how much the end is liked, so that some captions end early, some never."""
    net = small_net(seed=beams)
    net.decoder.final_logits_bias[0, EOS] += eager
    torch.manual_seed(beams)
    states = torch.randn(6, 20, WIDTH) * 2
    mask = torch.ones(6, 20, dtype=torch.long)
    mask[1, 12:] = mask[4, 7:] = 0
    ids, logprobs = beam_search(Decoder(net.decoder), states, mask, beams)
    assert torch.equal(ids, filled_up(theirs(net.decoder, states, mask, beams)))
    assert ((logprobs < 0) & (logprobs > -30)).all()


def test_captions_end_at_different_lengths_in_that_comparison():
    net = small_net(seed=2)
    net.decoder.final_logits_bias[0, EOS] += 4.0
    torch.manual_seed(2)
    ids, _ = beam_search(Decoder(net.decoder), torch.randn(6, 20, WIDTH) * 2, None, 2)
    assert len({int((row != 1).sum()) for row in ids}) > 1


def test_a_clip_alone_says_what_it_says_in_a_batch():
    net = small_net(seed=3)
    torch.manual_seed(3)
    states = torch.randn(5, 20, WIDTH) * 2
    decoder = Decoder(net.decoder)
    together, logprobs = beam_search(decoder, states, None, 2)
    for row in range(5):
        alone, logprob = beam_search(decoder, states[row : row + 1], None, 2)
        assert torch.equal(alone[0], together[row])
        assert logprob.item() == pytest.approx(logprobs[row].item(), abs=1e-4)


def test_the_logprob_is_the_mean_over_what_was_said():
    net = small_net(seed=4)
    net.decoder.final_logits_bias[0, EOS] += 4.0
    torch.manual_seed(4)
    states, mask = torch.randn(3, 20, WIDTH) * 2, torch.ones(3, 20, dtype=torch.long)
    ids, logprobs = beam_search(Decoder(net.decoder), states, mask, 2)
    with torch.inference_mode():
        logits = net.logits(states, mask, ids[:, :-1])
    told = logits.log_softmax(dim=2).gather(2, ids[:, 1:, None])[..., 0]
    for row in range(3):
        last = int((ids[row] != 1).sum()) - 1  # where the end stands
        assert last < 29
        assert logprobs[row].item() == pytest.approx(told[row, 1:last].mean().item(), abs=1e-3)


def test_steps_of_one_shape_say_the_same():
    """What a GPU is given: the whole memory at every step, what is not said yet masked."""
    net = small_net(seed=6)
    net.decoder.final_logits_bias[0, EOS] += 4.0
    torch.manual_seed(6)
    states = torch.randn(5, 20, WIDTH) * 2
    for beams in (1, 3):
        plain, logprobs = beam_search(Decoder(net.decoder), states, None, beams)
        static, static_logprobs = beam_search(Decoder(net.decoder, static=True), states, None, beams)
        assert torch.equal(plain, static)
        torch.testing.assert_close(logprobs, static_logprobs)


def test_a_triple_is_not_said_twice():
    words = torch.zeros(1, 1, VOCABULARY)
    no_ngram_twice(words, torch.tensor([[[2, 0, 7, 8, 9, 5, 7, 8]]]))
    assert words[0, 0].isneginf().nonzero().flatten().tolist() == [9]
