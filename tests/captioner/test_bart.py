"""The small captioner's BART beside transformers' own: the same weights, the same numbers, the same words."""

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from captioner.autocap.beam import Rules, beam_search
from captioner.autocap.decoder import Decoder
from captioner.bart import Bart, BartSizes

SIZES = BartSizes(vocabulary=120, width=32, layers=2, inner=48, heads=4, positions=64)
RULES = Rules(first=(1,), pad=0, end=2, max_length=21, triples_once=False)


def both(seed, eager=0.0):
    config = BartConfig(
        vocab_size=120, d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=48, decoder_ffn_dim=48,
        encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, forced_eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(seed)
    theirs = BartForConditionalGeneration(config).eval()
    for tensor in theirs.state_dict().values():
        tensor += torch.randn_like(tensor) * 0.3
    theirs.final_logits_bias[0, 2] += eager
    theirs.tie_weights()
    ours = Bart(SIZES).eval()
    ours.load_state_dict(theirs.state_dict())  # every name, every shape
    inputs = torch.randn(5, 17, 32)
    mask = torch.ones(5, 17, dtype=torch.long)
    mask[2, 9:] = mask[3, 4:] = 0
    return theirs, ours, inputs, mask


def test_the_encoder_gives_the_same_numbers():
    theirs, ours, inputs, mask = both(0)
    with torch.inference_mode():
        wanted = theirs.get_encoder()(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        found = ours.encode(inputs, mask)
    torch.testing.assert_close(found[mask == 1], wanted[mask == 1], atol=1e-5, rtol=1e-5)


def test_what_is_read_has_the_same_logits():
    theirs, ours, inputs, mask = both(1)
    ids = torch.randint(3, 120, (5, 3, 9))
    ids[..., 0] = 1
    with torch.inference_mode():
        states = ours.encode(inputs, mask)
        found = Decoder(ours).read(states, mask, ids)
        wanted = theirs(
            encoder_outputs=BaseModelOutput(states.repeat_interleave(3, dim=0)),
            attention_mask=mask.repeat_interleave(3, dim=0), decoder_input_ids=ids.flatten(0, 1), use_cache=False,
        ).logits  # fmt: skip
    torch.testing.assert_close(found.flatten(0, 1), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("beams", "eager"), [(1, 0.0), (2, 0.0), (2, 3.0), (4, 2.0)])
def test_the_search_says_the_same_words(beams, eager):
    theirs, ours, inputs, mask = both(beams, eager)
    with torch.inference_mode():
        states = ours.encode(inputs, mask)
        wanted = theirs.generate(
            encoder_outputs=BaseModelOutput(states.clone()), attention_mask=mask, num_beams=beams, max_new_tokens=20,
            do_sample=False, early_stopping=beams > 1, length_penalty=1.0, no_repeat_ngram_size=0,
        )  # fmt: skip
        ids, _ = beam_search(Decoder(ours), states, mask, beams, rules=RULES)
    assert torch.equal(ids, torch.nn.functional.pad(wanted, (0, 21 - wanted.shape[1])))
