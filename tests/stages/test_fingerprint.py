import numpy as np
import pyarrow as pa

from audio import fingerprint as signal
from audio.codec import encode
from corpus import fingerprints
from corpus.fingerprints import Prints
from stages.base import Services
from stages.fingerprint import FingerprintStage
from stages.registry import build_stage


def clips(*audio):
    return pa.table({"clip_id": [str(at) for at in range(len(audio))], "audio": pa.array(audio, pa.large_binary())})


def test_each_clip_gets_its_fingerprint_and_a_broken_one_ends(tmp_path):
    wave = (0.1 * np.random.default_rng(0).standard_normal(96_000)).astype(np.float32)
    stage = build_stage("fingerprint", {})
    assert isinstance(stage, FingerprintStage)
    stage.open(Services(run_root=str(tmp_path), cache_dir=tmp_path))
    found = stage.run(clips(encode(wave, 48_000, "flac"), b"no audio", encode(wave[:4800], 48_000, "flac")))
    assert found.column("outcome").to_pylist() == [None, "failed", None]
    assert found.column("fingerprint").null_count == 1
    prints = Prints.of(found.column("fingerprint").combine_chunks())
    own = signal.fingerprint(wave, 48_000)
    assert prints.frames.tolist() == [len(own.words), 0, 0]
    assert prints.keys.tolist() == own.keys.tolist()
    assert (prints.words_of(0) == own.words).mean() > 0.9  # 16 bits hold the wave but for its last digits


def test_corpus_and_signal_mean_the_same_frames():
    assert signal.HOP / signal.SAMPLE_RATE_HZ * 1000 == fingerprints.HOP_MS
    assert signal.WINDOW / signal.SAMPLE_RATE_HZ * 1000 == fingerprints.WINDOW_MS
