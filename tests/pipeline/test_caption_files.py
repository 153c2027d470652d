"""autorecap caption: a sentence for any file; what cannot be heard is told and passed over."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audio.decode import AudioSource
from captioner import Metadata, load_captioner
from pipeline import caption_files
from pipeline.caption_files import WINDOW_MS, tell_files
from pipeline.cli import main
from pipeline.teller import open_teller
from scorer import load_scorer
from scorer.load import ClapOptions
from tests.small_autocap import options, save_small_autocap

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000


def tone(seconds, hz=440.0, rate=RATE, seed=0):
    wave = 0.2 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return (wave + 0.05 * np.random.default_rng(seed).standard_normal(wave.size)).astype(np.float32)


def write(path, wave, rate=RATE):
    soundfile.write(path, wave, rate, subtype="FLOAT")
    return str(path)


def caption(*words):
    return CliRunner().invoke(main, ["caption", *map(str, words)])


def rows_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def teller():
    return open_teller()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    write(folder / "a.wav", tone(4))
    (folder / "deep").mkdir()
    write(folder / "deep" / "b.wav", np.stack([tone(12, 900, 44_100), tone(12, 300, 44_100, 1)], axis=1), 44_100)
    return folder


def test_a_file_is_captioned_as_its_wave_is_and_scored_by_the_same_ears(folder, teller):
    (told,) = tell_files(teller, [str(folder / "a.wav")], lambda _: Metadata(title="A dial tone"))
    (said,) = teller.captioner.caption([tone(4)], metadata=[Metadata(title="A dial tone")])
    assert (told.caption, told.logprob) == tuple(said)
    scorer = teller.scorer
    assert told.score == pytest.approx(float(scorer.embed_text([said.text])[0] @ scorer.embed_audio([tone(4)])[0]))
    assert (told.start_ms, told.end_ms) == (0, 4000)


def test_json_lines_and_csv_say_the_same(folder):
    lines = rows_of(caption(folder, "--format", "jsonl"))
    table = caption(folder, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    assert [row["file"] for row in lines] == [str(folder / "a.wav"), str(folder / "deep" / "b.wav")]
    assert [row["caption"] for row in lines] == [row["caption"] for row in rows]
    assert [row["end_s"] for row in lines] == [4.0, 10.0]
    assert "2 captions, the first after" in table.stderr
    assert "score" not in rows_of(caption(folder / "a.wav", "--format", "jsonl", "--no-score"))[0]


def test_windows_are_the_files_stretches_and_the_last_reaches_back(tmp_path, teller):
    wave = np.concatenate([tone(10, 200), tone(10, 900, seed=1), np.zeros(10 * RATE, np.float32), tone(3, 3000)])
    file = write(tmp_path / "long.wav", wave)
    every = list(tell_files(teller, [file], windows="every"))
    spans = [(told.start_ms, told.end_ms) for told in every]
    assert spans == [(0, 10_000), (10_000, 20_000), (20_000, 30_000), (23_000, 33_000)]
    assert [told.reason for told in every] == [None, None, "silent", None]
    assert not any(told.failed for told in every)
    heard = teller.captioner.caption([wave[told.start_ms * 16 : told.end_ms * 16] for told in every if told.caption])
    assert [told.caption for told in every if told.caption] == [said.text for said in heard]
    (joined,) = tell_files(teller, [file], windows="join")
    assert joined.caption.split(", then ")[0] == every[0].caption.rstrip(" .")
    assert (joined.start_ms, joined.end_ms) == (0, 33_000)
    (likeliest,) = tell_files(teller, [file], windows="likeliest")
    assert likeliest.logprob == max(told.logprob for told in every if told.caption)
    done = caption(file, "--every-window", "--format", "jsonl")
    assert done.exit_code == 0
    assert [row["caption"] for row in rows_of(done)] == [told.caption for told in every]


def test_what_cannot_be_heard_is_a_line_with_its_reason_and_the_others_are_captioned(folder, tmp_path):
    (tmp_path / "bad\x1b[2J.mp4").write_bytes(b"no media at all" * 100)
    (tmp_path / "empty.wav").write_bytes(b"")
    broken = tone(4)
    broken[100:110] = np.nan
    write(tmp_path / "nan.wav", broken)
    broken[100:110] = np.inf
    write(tmp_path / "inf.wav", np.stack([broken, tone(4)], axis=1))
    write(tmp_path / "short.wav", tone(1)[:100])
    write(tmp_path / "silent.wav", np.zeros(RATE, np.float32))
    soundfile.write(tmp_path / "whole.flac", tone(9), RATE)
    whole = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "whole.flac").unlink()
    done = caption(tmp_path, folder / "a.wav", "--format", "jsonl")
    assert done.exit_code == 1
    reasons = {row["file"].rpartition("/")[2]: row.get("reason") for row in rows_of(done)}
    assert reasons == {
        "bad\x1b[2J.mp4": "undecodable",
        "cut.flac": "truncated",
        "empty.wav": "empty_file",
        "inf.wav": "bad_samples",
        "nan.wav": "bad_samples",
        "short.wav": "too_short",
        "silent.wav": "silent",
        "a.wav": None,
    }
    told = done.stderr.splitlines()
    assert len(told) == 8  # a line each, and the speed
    assert "7 files not heard" in told[-1]
    assert "\x1b" not in done.output
    silent = caption(tmp_path / "silent.wav", "--every-window")
    assert silent.exit_code == 1
    assert "no window of the file has sound" in silent.stderr


def test_the_first_caption_is_there_before_the_second_file_is_looked_at(folder, teller):
    asked = []

    def files():
        for name in ("a.wav", "deep/b.wav"):
            asked.append(name)
            yield str(folder / name)

    first = next(tell_files(teller, files()))
    assert first.caption
    assert asked == ["a.wav"]


def test_a_long_file_is_heard_in_bounded_memory(tmp_path):
    """Three hours for their first window, and half an hour window by window: 690 MB and 115 MB as samples."""
    for name, minutes in (("hours.flac", 180), ("half.flac", 30)):
        with soundfile.SoundFile(tmp_path / name, "w", RATE, 1, "PCM_16") as out:
            out.write((tone(10) * 20_000).astype(np.int16))
            for _ in range(minutes):
                out.write(np.zeros(60 * RATE, np.int16))
    short = write(tmp_path / "short.wav", tone(10))
    code = (
        "import resource, sys; from pipeline.teller import open_teller; from pipeline.caption_files import tell_files\n"
        "teller = open_teller(); list(tell_files(teller, [sys.argv[1]]))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "told = [*tell_files(teller, [sys.argv[2]]), *tell_files(teller, [sys.argv[3]], windows='every')]\n"
        "print(len(told), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    words = [sys.executable, "-c", code, short, str(tmp_path / "hours.flac"), str(tmp_path / "half.flac")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines, grown_kb = map(int, done.stdout.split())
    assert lines == 1 + (10 + 30 * 60) * 1000 // WINDOW_MS
    assert grown_kb < 64_000


def test_metadata_of_each_file_from_one_yaml(folder, teller):
    (folder / "meta.yaml").write_text(
        "a.wav: {title: Rain on my tent}\ndeep/b.wav: {video_caption: a dog barks}\nnone.wav: {title: x}\n"
    )
    done = caption(folder, "--metadata", folder / "meta.yaml", "--title", "Other", "--format", "jsonl")
    assert done.exit_code == 0
    assert "1 of its names are of no file given: none.wav" in done.stderr
    waves = [str(folder / "a.wav"), str(folder / "deep" / "b.wav")]
    told = {"a.wav": Metadata(title="Rain on my tent"), "b.wav": Metadata("Other", "", "a dog barks")}
    direct = tell_files(teller, waves, lambda file: told[file.rpartition("/")[2]])
    assert [row["caption"] for row in rows_of(done)] == [each.caption for each in direct]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.wav: {titel: x}\nb.wav: [1]\n", "a.wav: unknown key 'titel'.*\n.*b.wav: must be a mapping"),
        ("a.wav: {title: 2012}", "title must be text: put it in quotes"),
        ("12: {title: x}", "12: a file's name must be text"),
        ("a.wav: {title: %s}" % ("x" * 20_001), "title has 20001 characters"),
        ("- a", "must be a mapping: file name"),
        ("a: !!python/object/apply:os.system [echo]", "is not YAML: could not determine a constructor"),
        ("a: {b: [", "is not YAML"),
        ("[" * 5000, "is not YAML"),
    ],
)
def test_metadata_that_is_none_is_refused_with_all_that_is_wrong(folder, tmp_path, text, told):
    (tmp_path / "meta.yaml").write_text(text)
    done = caption(folder, "--metadata", tmp_path / "meta.yaml")
    assert done.exit_code == 2
    assert re.search(told, done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give FILES"),
        (["nothing-here.wav"], "nothing-here.wav: there is no such file"),
        (["{a}", "--model", "/nothing/here"], "the captioner '/nothing/here' cannot be loaded"),
        (["{a}", "--clap", "clap.pt"], "has no options"),
        (["{a}", "--beam", "9"], "9 is not in the range"),
        (["{a}", "--every-window", "--windows", "join"], "--windows makes one of them"),
        (["{a}", "--metadata", "/nothing.yaml"], "/nothing.yaml cannot be read"),
    ],
)
def test_refusals_are_one_sentence(folder, words, told):
    done = caption(*[word.format(a=folder / "a.wav") for word in words])
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_captions_and_names_steer_no_terminal(folder, capsys, teller):
    from pipeline.verbs_caption import CsvPrinter, TablePrinter

    hostile = caption_files.Told("a\x1b[2J.wav", 0, 9000, caption="dogs\u202e bark\r\n\x9b1m", logprob=-1.0, score=0.5)
    for kind in (TablePrinter, CsvPrinter):
        kind(teller).show(hostile)
    out = capsys.readouterr().out
    assert "dogs bark 1m" in out
    assert not any(sign in out for sign in "\x1b\u202e\x9b\r")


def test_a_published_autocap_is_run_as_its_options_say(folder, tmp_path):
    small = save_small_autocap(tmp_path / "autocap")
    words = ["--model", small.checkpoint, "--clap", small.clap, "--clap-tokenizer", small.clap_tokenizer]
    words += ["--bart", small.bart, "--beam", 3, "--title", "My dog at the lake", "--format", "jsonl"]
    file = folder / "deep" / "b.wav"
    captioner = load_captioner(str(small.checkpoint), options=options(small, tag_spacing="kept"))
    with AudioSource(file) as source:
        wave, at_48_khz = source.segment(0, 10_000, 32_000), source.segment(0, 10_000, 48_000)
    scorer = load_scorer(str(small.clap), options=ClapOptions(tokenizer=str(small.clap_tokenizer)))
    vector = scorer.embed_audio([at_48_khz])
    told = [Metadata(title="My dog at the lake")]
    (said,) = captioner.caption([wave], metadata=told, clap_embeddings=vector, beams=3)
    (row,) = rows_of(caption(file, *words, "--tag-spacing", "kept", "--score"))
    assert (row["caption"], row["logprob"]) == (said.text, said.logprob)
    assert row["score"] == pytest.approx(float(scorer.embed_text([said.text])[0] @ vector[0]), abs=1e-5)
    (row,) = rows_of(caption(file, *words, "--tag-spacing", "kept"))
    assert "score" not in row
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(small.checkpoint.read_bytes()[:5000])
    done = caption(file, "--model", cut, *words[2:])
    assert done.exit_code == 2
    assert "cannot be loaded" in done.stderr
    assert "Traceback" not in done.output


def test_the_two_lines_of_the_documents_caption_a_wave(folder):
    """Every such block of README and docs/captioning.md, run with the wave of a cricket."""
    with AudioSource(ROOT / "examples" / "demo" / "folder" / "crickets.mp3") as source:
        wave = source.segment(0, 10_000, 16_000)
    pages = [(ROOT / name).read_text() for name in ("docs/captioning.md", "README.md")]
    blocks = [block for page in pages for block in re.findall(r"```python\n(.*?)```", page, re.S)]
    blocks = [block for block in blocks if "load_captioner" in block]
    assert blocks
    for block in blocks:
        *statements, call = block.strip().splitlines()
        names = {"wave": wave}
        exec("\n".join(statements), names)
        (said,) = eval(call, names)
        assert "cricket" in said.text
