"""CLAP: how well a caption fits a sound. Load a scorer, embed audio and text, score.

scorer = load_scorer()                                   # the small one inside; or a ClapModel's folder or Hub name
audio = scorer.embed_audio([wave])                       # float32 mono at scorer.sample_rate_hz
score = audio @ scorer.embed_text(["a dog barks"]).T     # unit vectors: the score is their dot product
"""

from scorer.load import Scorer, load_scorer

__all__ = ["Scorer", "load_scorer"]
