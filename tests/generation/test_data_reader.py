import functools
import http.server
import json
import logging
import os
import threading
from itertools import islice

import pytest

from generation import data_reader
from generation.data import Feed, find_corpora
from generation.data_reader import Reader, samples_in
from generation.data_recipe import Data
from generation.data_waves import Waves
from tests.sound_shards import RATE_HZ, members, write_corpus, write_tar
from training.errors import TrainError
from training.shards import Shard, Shards, find_shards


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def keys(reader, count):
    return [None if sample is None else sample["__key__"] for sample in (reader.next() for _ in range(count))]


def reader_of(shards, cursor=0, reader=0, readers=1, buffer=5):
    return Reader(shards, seed="3", reader=reader, readers=readers, shuffle_clips=buffer, cursor=cursor)


ALL = [f"c{n:03d}" for n in range(24)]


@pytest.mark.parametrize(("reader", "readers"), [(0, 1), (1, 2), (2, 5)])
def test_reading_on_from_any_number_is_reading_through(corpus, reader, readers):
    shards = find_shards([str(corpus)], "train")
    through = keys(reader_of(shards, reader=reader, readers=readers), 60)
    for cursor in (1, 7, 23, 24, 31, 48):
        assert keys(reader_of(shards, cursor, reader, readers), 12) == through[cursor : cursor + 12]


def test_a_pass_gives_every_clip_once(corpus):
    read = keys(reader_of(find_shards([str(corpus)], "train")), 48)
    assert sorted(read[:24]) == sorted(read[24:]) == ALL
    assert read[:24] != read[24:]


def test_going_on_reads_no_shard_that_was_done(corpus, monkeypatch):
    """A training of weeks that is gone on with does not read weeks of shards: that is what places are for."""
    opened = []
    monkeypatch.setattr(
        data_reader, "samples_in", lambda shard, *a: (opened.append(shard.name), samples_in(shard, *a))[1]
    )
    shards = find_shards([str(corpus)], "train")
    reader = reader_of(shards, 5 * 24 + 22, buffer=2)
    reader.next()
    assert len(opened) <= 2


def test_members_without_their_pair_are_counted(tmp_path):
    lone = [("stray.flac", b"fLaC")]
    write_tar(tmp_path / "0.tar", [members("a"), lone, members("b"), [("late.txt", b"hm")]])
    reader = reader_of(find_shards([str(tmp_path)], "train"))
    assert sorted(keys(reader, 2)) == ["a", "b"]
    assert reader.strays == 1
    reader.next()  # the next pass begins when the one before has been read to its end
    assert reader.strays >= 2


def test_a_truncated_shard_is_passed_over_and_its_clips_counted(tmp_path, corpus, caplog):
    for name in ("00000.tar", "00001.tar"):
        (tmp_path / name).write_bytes((corpus / name).read_bytes())
    whole = (tmp_path / "00001.tar").read_bytes()
    (tmp_path / "00001.tar").write_bytes(whole[: len(whole) // 2 + 100])
    (tmp_path / "sizes.json").write_text(json.dumps({"00000.tar": 8, "00001.tar": 8}))
    shards = find_shards([str(tmp_path)], "train")
    with caplog.at_level(logging.WARNING):
        through = keys(reader_of(shards), 32)
    lost = through[:16].count(None)
    assert 0 < lost < 8
    assert {key for key in through if key} >= set(ALL[:8])
    assert "00001.tar is damaged" in caplog.text
    for cursor in (3, 11, 18):
        assert keys(reader_of(shards, cursor), 10) == through[cursor : cursor + 10]


def test_a_shard_of_fewer_clips_than_stated_loses_them(tmp_path, corpus):
    (tmp_path / "00000.tar").write_bytes((corpus / "00000.tar").read_bytes())
    (tmp_path / "sizes.json").write_text('{"00000.tar": 10}')
    read = keys(reader_of(find_shards([str(tmp_path)], "train")), 10)
    assert read.count(None) == 2


def test_too_few_clips_for_the_readers_are_refused(corpus):
    with pytest.raises(TrainError, match="loader_workers"):
        reader_of(find_shards([str(corpus)], "train"), readers=25)


def test_a_shard_that_is_gone_stops_with_its_name(tmp_path):
    with pytest.raises(TrainError, match=r"there is no .*gone\.tar"):
        list(samples_in(Shard(str(tmp_path), "gone.tar", 3)))


def test_nothing_that_is_named_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainError):
        list(samples_in(Shard("pipe:touch ran", "x.tar", 1)))
    assert os.listdir(tmp_path) == []


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Gives whole files; breaks off in the middle of a file as often as `breaks` says."""

    breaks = 0

    def copyfile(self, source, outputfile):
        if self.path.endswith(".tar") and _Handler.breaks > 0:
            _Handler.breaks -= 1
            outputfile.write(source.read(3000))
            self.close_connection = True
            return
        super().copyfile(source, outputfile)

    def log_message(self, *args):
        pass


@pytest.fixture
def web(corpus, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(corpus)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_shards_are_read_over_http(web, corpus):
    shards = find_shards([f"{web}/{{00000..00002}}.tar"], "train")
    assert shards.clips == 24
    here = find_shards([str(corpus)], "train")
    assert keys(reader_of(shards), 30) == keys(reader_of(here), 30)


def test_loader_processes_read_over_http_though_this_one_has(web):
    """A client of fsspec's, and its thread, do not outlive a fork."""
    recipe = Data.model_validate({"corpora": [{"shards": f"{web}/{{00000..00002}}.tar"}], "loader_workers": 2})
    kind = Waves(RATE_HZ, RATE_HZ, lambda wave: wave)
    feed = Feed(find_corpora(recipe), recipe, kind, batch_clips=4, seed=1)
    batches = feed.batches(None, rank=0, world=1)
    assert len({key for _ in range(6) for key in next(batches).clips.keys}) >= 20  # one reads two shards, one reads one
    batches.close()


def test_a_folder_of_shards_is_found_over_http(web):
    assert find_shards([web], "train").clips == 24


def test_a_connection_that_breaks_is_made_again(web, monkeypatch):
    monkeypatch.setattr(data_reader, "PAUSE_S", 0.0)
    shard = Shard(web, "00000.tar", 8)
    _Handler.breaks = 2
    assert [sample["__key__"] for sample in samples_in(shard)] == ALL[:8]
    _Handler.breaks = 100
    with pytest.raises(TrainError, match=r"00000\.tar cannot be read"):
        list(samples_in(shard))
    _Handler.breaks = 0


def test_shards_are_read_from_s3(s3, corpus):
    import s3fs

    fs = s3fs.S3FileSystem()
    fs.mkdir("sounds")
    for name in os.listdir(corpus):
        fs.put(str(corpus / name), f"sounds/train/{name}")
    shards = find_shards(["s3://sounds/train"], "train")
    assert keys(reader_of(shards), 24) == keys(reader_of(find_shards([str(corpus)], "train")), 24)
    assert Shards(shards.shards[:1]).clips == 8
    assert len(list(islice(samples_in(shards.shards[0]), 3))) == 3
