"""`make demo-train` in a shorter form: the same commands, on small shards of tones."""

from click.testing import CliRunner

from examples.demo import train_demo
from pipeline.cli import main
from tests.sound_shards import write_corpus


def here(*words):
    """The command in this process: three times to load torch is most of what the test would take."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.exit_code


def test_it_trains_measures_and_writes_sounds_with_their_spectrograms(tmp_path, monkeypatch, capsys):
    shards = write_corpus(tmp_path / "shards", shards=1, each=8)
    latents, out = tmp_path / "latents", tmp_path / "out"
    short = ["loop.steps=30", "keep.validate_every_steps=1000", "validation.prompts=[]", "schedule.peak_rate=0.01"]
    short += ["net.patch=4", "net.blocks=1", "net.local_layers=1", "batch_clips=4", "validation.max_clips=2"]
    corpora = f"[{{shards: [{latents}], split: train}}]"
    short += [f"data.corpora={corpora}", f"validation.corpora={corpora}", "keep.tensorboard=false"]
    monkeypatch.setattr(train_demo, "autorecap", here)
    monkeypatch.setattr(train_demo, "PROMPTS", ("a tone",))
    monkeypatch.setattr(train_demo, "GOOD", 0.8)
    assert train_demo.train_demo(str(shards), str(latents), str(out), short) == 0
    assert sorted(path.suffix for path in (out / "sounds").glob("*tone*")) == [".json", ".png", ".wav"]
    assert f"Sounds and their spectrograms: {out}/sounds" in capsys.readouterr().out
