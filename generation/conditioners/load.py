"""Which text encoders stand behind names: what recipes, checkpoints' cards and the command line give."""

from __future__ import annotations

from collections.abc import Sequence

from generation.conditioners.base import Conditioner, ConditionerError, Joined
from generation.conditioners.t5 import Pooling, Precision, load_t5
from scorer.load import EMBEDDED, ClapOptions, ScorerError, load_scorer
from scorer.weights import WeightsError

#: The published models' two, as their checkpoints need them; CLAP's file is LAION's and has to be named.
PUBLISHED_T5 = "t5:google/flan-t5-large"


def load_conditioner(
    names: Sequence[str],
    device: str = "cpu",
    *,
    pooling: Pooling = "tokens",
    precision: Precision = "float32",
    clap_tokenizer: str | None = None,
) -> Conditioner:
    """One conditioner of all `names`, side by side in their order. ConditionerError when one cannot be had.

    "embedded": the project's small CLAP. "clap:NAME": a ClapModel (folder or Hub name), one of LAION's .pt files.
    "t5:NAME": a T5 (folder or Hub name); `pooling` as in generation/conditioners/t5.py.
    """
    parts = [_load(name, device, pooling, precision, clap_tokenizer) for name in names]
    return parts[0] if len(parts) == 1 else Joined(parts)


def _load(name: str, device: str, pooling: Pooling, precision: Precision, tokenizer: str | None) -> Conditioner:
    from generation.conditioners.scorer_text import ScorerText

    kind, _, model = name.partition(":")
    if kind == "t5" and model:
        return load_t5(model, device, pooling=pooling, precision=precision)
    if name != EMBEDDED and not (kind == "clap" and model):
        raise ConditionerError(f"no text encoder is called {name!r}; give 'embedded', 'clap:NAME' or 't5:NAME'")
    options = None if name == EMBEDDED else ClapOptions(precision=precision, tokenizer=tokenizer)
    try:
        return ScorerText(load_scorer(model or EMBEDDED, device, options=options))
    except (ScorerError, WeightsError) as error:
        raise ConditionerError(str(error)) from error
