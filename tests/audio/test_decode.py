"""Real little files of every kind a source comes in, written with PyAV, cut by seeking and compared with the whole."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from audio.decode import AudioSource, DecodeError, MediaInfo, decode_segments, probe
from audio.resample import resample

SECONDS = 12
SOUNDS = Path(__file__).parent.parent / "data" / "sounds"
#: The decoder draws AAC's noise bands at random; without them two decodes can be compared.
NO_NOISE = {"aac_pns": "0"}


def sound(rate, channels=1, seconds=SECONDS):
    """A rising tone with noise bursts and clicks: no two places are alike."""
    t = np.arange(rate * seconds) / rate
    rng = np.random.default_rng(7)
    wave = 0.3 * np.sin(2 * np.pi * (150 * t + 60 * t * t)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3.1 * t))
    wave += 0.05 * rng.standard_normal(t.size) * (np.sin(2 * np.pi * 0.7 * t) > 0)
    wave[rate // 3 :: rate] += 0.4
    gains = 1 - 0.15 * np.arange(channels)
    return np.clip(gains[:, None] * wave, -1, 1).astype(np.float32)


def write(path, wave, rate, codec, *, layout=None, options=None, container_options=None, first_pts=0):
    """Encode (channels, samples) into `path`; the container follows from its name."""
    layout = layout or {1: "mono", 2: "stereo", 6: "5.1"}[len(wave)]
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout, options=options or {})
        stream.codec_context.open()
        kind = stream.codec_context.format.name
        resampler = av.AudioResampler(kind, layout, rate, frame_size=stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), first_pts
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return path


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def cut_or_reason(source, start_ms, end_ms):
    """How many samples a segment gives, or why none can be had."""
    try:
        wave = source.segment(start_ms, end_ms)
    except DecodeError as error:
        return error.reason
    assert np.isfinite(wave).all()
    return wave.size


def whole(path):
    with AudioSource(path) as source:
        return source.samples(0, 1 << 40)


KINDS = {
    "aac.m4a": (44100, 2, "aac", NO_NOISE, {}),
    "aac.mp4": (48000, 1, "aac", NO_NOISE, {}),
    "fragmented.mp4": (44100, 2, "aac", NO_NOISE, {"movflags": "frag_keyframe+empty_moov", "frag_duration": "2000000"}),
    "dash.mp4": (44100, 2, "aac", NO_NOISE, {"movflags": "dash+global_sidx", "frag_duration": "2000000"}),
    "surround.m4a": (48000, 6, "aac", NO_NOISE, {}),
    "raw.aac": (44100, 1, "aac", NO_NOISE, {}),
    "aac.mkv": (44100, 1, "aac", NO_NOISE, {}),
    "aac.ts": (44100, 1, "aac", NO_NOISE, {}),
    "aac.flv": (44100, 1, "aac", NO_NOISE, {}),
    "opus.webm": (48000, 2, "libopus", {"b": "96000"}, {}),
    "opus_60ms.webm": (48000, 1, "libopus", {"frame_duration": "60"}, {}),
    "opus_speech.webm": (16000, 1, "libopus", {"b": "16000", "application": "voip"}, {}),
    "surround.webm": (48000, 6, "libopus", {"b": "256000"}, {}),
    "opus.ogg": (48000, 1, "libopus", {}, {}),
    "vorbis.ogg": (44100, 2, "libvorbis", {}, {}),
    "vorbis.webm": (44100, 2, "libvorbis", {}, {}),
    "vbr.mp3": (44100, 2, "libmp3lame", {"q": "4"}, {}),
    "cbr.mp3": (44100, 1, "libmp3lame", {"b": "128000"}, {}),
    "untagged.mp3": (44100, 1, "libmp3lame", {"b": "64000"}, {"write_xing": "0"}),
    "telephone.mp3": (8000, 1, "libmp3lame", {}, {}),
    "pcm.wav": (44100, 2, "pcm_s16le", {}, {}),
    "float.wav": (44100, 1, "pcm_f32le", {}, {}),
    "telephone.wav": (8000, 1, "pcm_alaw", {}, {}),
    "adpcm.wav": (22050, 1, "adpcm_ms", {}, {}),
    "lossless.flac": (44100, 2, "flac", {}, {}),
    "lossless.mkv": (44100, 1, "flac", {}, {}),
}


#: Their containers do not say how much the encoder put in front.
DELAY_UNTOLD = ("fragmented.mp4", "dash.mp4", "raw.aac", "aac.ts", "aac.flv", "untagged.mp3", "adpcm.wav")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Files of KINDS, each written once, when first asked for."""
    folder = tmp_path_factory.mktemp("media")

    def make(name):
        rate, channels, codec, options, container_options = KINDS[name]
        path = folder / name
        if path.exists():
            return path
        wave = sound(rate, channels)
        if codec == "libvorbis":  # the one encoder that PyAV's wheel leaves out
            soundfile.write(folder / "in.wav", wave.T, rate, subtype="FLOAT")
            ffmpeg("-i", folder / "in.wav", "-c:a", codec, path)
        else:
            write(path, wave, rate, codec, options=options, container_options=container_options)
        return path

    return make


@pytest.mark.parametrize("name", KINDS)
def test_a_segment_equals_the_same_span_of_the_whole(media, name):
    path = media(name)
    everything = whole(path)
    spans = [(0, 1000), (1000, 2500), (2500, 4000), (7777, 9999), (4321, 5432), (10_001, 11_500), (333, 1200)]
    with AudioSource(path) as source:
        rate = source.sample_rate_hz
        cut = [source.segment(start, end) for start, end in spans]
    with AudioSource(path) as source:  # and by one long jump
        cut.append(source.segment(8123, 9456))
    for (start, end), wave in zip([*spans, (8123, 9456)], cut, strict=True):
        first = (start * rate + 500) // 1000
        assert wave.size == ((end - start) * rate + 500) // 1000
        np.testing.assert_allclose(wave, everything[first : first + wave.size], atol=1e-3)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in DELAY_UNTOLD])
def test_the_encoders_delay_is_taken_off(media, name):
    """What was encoded at 5 s is found at 5 s."""
    with AudioSource(media(name)) as source:
        rate = source.sample_rate_hz
        wave = source.segment(5000, 6000)
    original = resample(sound(KINDS[name][0])[0], KINDS[name][0], rate)[4 * rate : 7 * rate]
    lag = int(np.argmax(np.correlate(original[rate // 2 : -rate // 2], wave[: rate // 2], "valid"))) - rate // 2
    assert abs(lag) <= 4


@pytest.mark.parametrize("name", ["noisy.m4a", "noisy.ts", "opus.webm", "vbr.mp3", "vorbis.ogg"])
def test_a_span_gives_the_same_bits_whatever_was_decoded_before(media, tmp_path, name):
    path = media(name) if name in KINDS else tmp_path / name
    if name not in KINDS:  # with the noise bands that only the decoder can draw
        write(path, sound(44100), 44100, "aac", options={"b": "48000"})
    spans = [(0, 900), (3000, 4000), (7000, 8000)]
    with AudioSource(path) as source:
        for start, end in [*spans, *reversed(spans)]:
            with AudioSource(path) as fresh:
                np.testing.assert_array_equal(source.segment(start, end), fresh.segment(start, end))


def test_lossless_files_give_the_samples_that_were_written(media):
    written = sound(44100)[0]
    with AudioSource(media("lossless.mkv")) as source:
        np.testing.assert_allclose(source.segment(3001, 4002), written[132344 : 132344 + 44144], atol=1e-4)


def test_a_late_audio_track_is_silent_until_it_starts(tmp_path):
    wave = sound(48000, seconds=4)
    pictures = ["-f", "lavfi", "-i", "color=s=64x64:r=10:d=5"]
    soundfile.write(tmp_path / "in.wav", wave[0], 48000, subtype="FLOAT")
    path = tmp_path / "late.mkv"
    ffmpeg(*pictures, "-itsoffset", "0.7", "-i", tmp_path / "in.wav", "-c:a", "flac", "-c:v", "mpeg4", path)
    with AudioSource(path) as source:
        cut = source.segment(200, 1700)
    assert not cut[:24000].any()
    np.testing.assert_allclose(cut[24000:], wave[0, :48000], atol=1e-4)


def test_a_file_that_starts_late_starts_at_zero(tmp_path):
    wave = sound(44100, seconds=6)
    path = write(tmp_path / "late.m4a", wave, 44100, "aac", options=NO_NOISE, first_pts=3 * 44100)
    everything = whole(path)
    assert everything.size >= 6 * 44100
    with AudioSource(path) as source:
        np.testing.assert_allclose(source.segment(4000, 5000), everything[4 * 44100 : 5 * 44100], atol=1e-3)


@pytest.mark.parametrize(
    ("made", "copied"), [("aac.flv", "copy.mp4"), ("vorbis.ogg", "copy.webm"), ("opus.webm", "copy.mp4")]
)
def test_stamps_rounded_by_another_container_do_no_harm(media, tmp_path, made, copied):
    original, path = whole(media(made)), tmp_path / copied
    ffmpeg("-i", media(made), "-c", "copy", path)
    everything = whole(path)
    with AudioSource(path) as source:
        rate = source.sample_rate_hz
        np.testing.assert_allclose(source.samples(5 * rate, 7 * rate), everything[5 * rate : 7 * rate], atol=1e-3)
    middle = original[6 * rate : 6 * rate + 4000]
    around = everything[6 * rate - 2000 : 6 * rate + 6000]
    lag = int(np.argmax(np.correlate(around, middle, "valid")))
    np.testing.assert_allclose(around[lag : lag + 4000], middle, atol=1e-3)  # no clicks where frames meet


def test_frames_of_changing_length_in_one_file(tmp_path):
    """Opus packets of 20 and 60 ms, one after the other, under rounded stamps."""
    parts = []
    for length in ("20", "60", "20"):
        part = tmp_path / f"{len(parts)}.ogg"
        write(part, sound(48000, seconds=5), 48000, "libopus", options={"frame_duration": length})
        parts.append(part)
    path, pts = tmp_path / "mixed.webm", 0
    with av.open(str(path), "w") as container:
        stream = None
        for part in parts:
            with av.open(str(part)) as taken:
                stream = stream or container.add_stream_from_template(taken.streams.audio[0])
                for packet in taken.demux(audio=0):
                    if packet.size:
                        packet.stream, packet.time_base = stream, Fraction(1, 48000)
                        packet.pts = packet.dts = pts
                        pts += packet.duration if packet.duration % 960 == 0 else 960
                        container.mux(packet)
    everything = whole(path)
    with AudioSource(path) as source:
        for start in (14, 9, 3, 6, 11):
            cut = source.samples(start * 48000 - 321, start * 48000 + 20_000)
            reference = everything[start * 48000 - 321 :][:20_321]
            np.testing.assert_allclose(cut, reference, atol=1e-3)


def test_surround_is_mixed_without_the_deep_effects(tmp_path):
    wave = np.zeros((6, 48000), np.float32)
    wave[3] = 0.9  # LFE
    path = write(tmp_path / "deep.wav", wave, 48000, "pcm_s16le")
    assert np.abs(whole(path)).max() < 1e-3
    wave[:] = 0.5
    wave[3] = 0
    assert whole(write(tmp_path / "all.wav", wave, 48000, "pcm_s16le")) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("channels", [3, 4, 7, 12, 16])
def test_speakers_without_a_layout_are_averaged_or_mixed(tmp_path, channels):
    soundfile.write(tmp_path / "many.wav", np.full((16000, channels), 0.5), 16000, subtype="PCM_24")
    assert whole(tmp_path / "many.wav") == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("rate", [48000, 32000, 16000, 11025])
@pytest.mark.parametrize("name", ["aac.m4a", "opus.webm", "telephone.wav"])
def test_resampled_segments_lie_on_the_whole_files_grid(media, name, rate):
    path = media(name)
    with AudioSource(path) as source:
        everything = resample(whole(path), source.sample_rate_hz, rate)
    spans = [(0, 1500), (1234, 4321), (6001, 7000)]
    for (start, end), wave in zip(spans, decode_segments(path, spans, rate), strict=True):
        first, count = (start * rate + 500) // 1000, ((end - start) * rate + 500) // 1000
        assert wave.dtype == np.float32
        assert wave.size == count
        np.testing.assert_allclose(wave, everything[first : first + count], atol=1e-3)


def test_what_lies_beyond_the_end_is_not_there(media):
    path = media("lossless.flac")
    with AudioSource(path) as source:
        assert source.segment(11_500, 14_000).size == 22050
        assert source.segment(12_000, 13_000).size == 0
        assert source.segment(10**9, 10**9 + 10).size == 0
        assert source.segment(0, 100).size == 4410  # and the source goes on
        assert source.segment(11_500, 14_000, 48000).size == pytest.approx(24000, abs=1)


@pytest.mark.parametrize("span", [(2000, 1000), (1000, 1000), (-5, 1000)])
def test_a_span_that_is_none_is_refused(media, span):
    with AudioSource(media("pcm.wav")) as source, pytest.raises(ValueError, match="span"):
        source.segment(*span)


def test_properties_and_probe(media):
    with AudioSource(media("aac.m4a")) as source:
        assert (source.sample_rate_hz, source.channels) == (44100, 2)
        assert source.duration_ms == pytest.approx(12_000, abs=50)
    info = probe(media("aac.m4a"))
    assert info == MediaInfo(info.duration_ms, 44100, 2, "aac", has_audio=True)
    assert info.duration_ms == pytest.approx(12_000, abs=50)
    assert probe(io.BytesIO(media("opus.webm").read_bytes())).codec == "opus"


def test_nan_samples_become_silence(tmp_path):
    wave = sound(16000, seconds=1)[0]
    wave[100:200], wave[300] = np.nan, np.inf
    soundfile.write(tmp_path / "nan.wav", wave, 16000, subtype="FLOAT")
    read = whole(tmp_path / "nan.wav")
    assert np.isfinite(read).all()
    assert not read[100:200].any()


def test_empty_missing_and_foreign_files_say_so(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "page.mp4").write_text("<html>nothing to hear</html>" * 100)
    for name, reason in [("empty.mp4", "empty_file"), ("page.mp4", "undecodable"), ("none.mp4", "undecodable")]:
        with pytest.raises(DecodeError) as opened:
            AudioSource(tmp_path / name)
        assert opened.value.reason == reason
        with pytest.raises(DecodeError) as probed:
            probe(tmp_path / name)
        assert probed.value.reason == reason


def test_a_wave_file_of_no_samples_is_empty(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16000)
    with pytest.raises(DecodeError) as error:
        AudioSource(tmp_path / "none.wav")
    assert error.value.reason in ("empty_file", "undecodable")


def wave_file(path, rate, channels, claimed=None, data=b"\1\2" * 400_000):
    """A wave file whose header says what it likes."""
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2 % 2**16, 16)
    size = len(data) if claimed is None else claimed
    head = b"RIFF" + struct.pack("<I", min(size + 36, 2**32 - 1)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    path.write_bytes(head + b"data" + struct.pack("<I", size) + data)
    return path


@pytest.mark.parametrize(("rate", "channels"), [(2_000_000_000, 1), (4_000_000_000, 1), (400_000, 2), (48_000, 60_000)])
def test_a_header_that_claims_the_absurd_costs_neither_memory_nor_time(tmp_path, rate, channels):
    path = wave_file(tmp_path / "absurd.wav", rate, channels)
    tracemalloc.start()
    with pytest.raises(DecodeError):
        AudioSource(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_a_file_that_claims_to_be_far_longer_gives_what_is_there(tmp_path):
    path = wave_file(tmp_path / "long.wav", 48_000, 2, claimed=2**32 - 16)
    with AudioSource(path) as source:
        tracemalloc.start()
        assert source.segment(0, 3000).size == 3 * 48_000
        assert source.segment(0, 600_000).size == 200_000
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
        tracemalloc.stop()


def test_a_video_without_sound_has_no_audio(tmp_path):
    path = tmp_path / "mute.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=s=64x64:r=10:d=1", "-c:v", "mpeg4", path)
    assert not probe(path).has_audio
    with pytest.raises(DecodeError) as error:
        AudioSource(path)
    assert error.value.reason == "no_audio"


def test_a_playlist_is_not_followed(media, tmp_path):
    """A text file that points FFmpeg at other files is no media, whatever it is called."""
    target = media("aac.ts")
    (tmp_path / "song.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\n{target}\n#EXT-X-ENDLIST\n")
    (tmp_path / "join.mp4").write_text(f"ffconcat version 1.0\nfile {target}\n")
    for name in ("song.mp4", "join.mp4"):
        with pytest.raises(DecodeError) as error:
            AudioSource(tmp_path / name)
        assert error.value.reason == "undecodable"


@pytest.mark.parametrize("name", ["fragmented.mp4", "opus.webm", "vorbis.ogg", "vbr.mp3", "pcm.wav", "lossless.flac"])
def test_a_truncated_file_gives_the_part_that_is_there(media, tmp_path, name):
    data = media(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * 0.6)])
    everything = whole(media(name))
    with AudioSource(path) as source:
        rate = source.sample_rate_hz
        np.testing.assert_allclose(source.segment(2000, 3000), everything[2 * rate : 3 * rate], atol=1e-3)
        assert cut_or_reason(source, 11_000, 11_500) in (0, "undecodable")


def test_an_mp4_without_its_index_is_undecodable(media, tmp_path):
    data = media("aac.m4a").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(data[: len(data) // 2])
    with pytest.raises(DecodeError):
        AudioSource(tmp_path / "cut.m4a")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["aac.m4a", "opus.webm", "vorbis.ogg", "vbr.mp3", "telephone.wav", "lossless.flac"])
def test_damage_never_escapes_as_another_error(media, tmp_path, name, seed):
    chance = random.Random(f"{name} {seed}")
    data = bytearray(media(name).read_bytes())
    if seed % 3 == 0:
        data = data[: chance.randrange(1, len(data))]
    for _ in range((0, 20, 3000)[seed % 3]):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path = tmp_path / name
    path.write_bytes(data)
    reasons = {"undecodable", "no_audio", "empty_file"}
    try:
        source = AudioSource(path)
    except DecodeError as error:
        found = [error.reason]
    else:
        with source:
            found = [cut_or_reason(source, start, start + 1000) for start in (0, 4000, 9000)]
    assert all(outcome in reasons or 0 <= outcome <= 48000 for outcome in found)


def test_a_real_voice_reads_the_same_by_two_libraries():
    path = SOUNDS / "speech_woman.flac"
    reference, rate = soundfile.read(path, dtype="float32")
    with AudioSource(path) as source:
        assert source.sample_rate_hz == rate == 8000
        np.testing.assert_array_equal(source.segment(1000, 3000), reference[8000:24000])
