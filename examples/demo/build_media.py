"""Builds the demo's media site. A developer's tool, run once: its output lies in the repo.

    python -m examples.demo.build_media --sounds SOUNDS

SOUNDS is a folder of real recordings with their `sounds.jsonl` (examples/demo/README.md says how to get it).
Needs espeak-ng's library (Debian: libespeak-ng1). Writes beside this file:

    media/files/       the sources' media             media/site.json    metadata and behaviours, for server.py
    media/captions/    their caption tracks           media/truth.jsonl  what is heard when, and every spoken word
    media/LICENSES.md  origin and licence of it all   folder/            three files for the local-folder source
    sources.txt        the list that the demo's recipe reads
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from examples.demo.studio import captions
from examples.demo.studio.licences import licences
from examples.demo.studio.mix import Mixed, Mixer
from examples.demo.studio.narrator import Narrator
from examples.demo.studio.render import render, write_garbage
from examples.demo.studio.scenes import FOLDER, GONE, MISBEHAVING, PLAIN, TALKING, Format, Scene, Track
from examples.demo.studio.sounds import Library

HERE = Path(__file__).resolve().parent
LICENSE = "Creative Commons Attribution-ShareAlike 4.0 International"
PORT = 8765

SOURCES_HEAD = f"""\
# The demo's sources: one URL a line. The site is examples/demo/server.py, on its default port {PORT}.
"""


class Builder:
    def __init__(self, sounds: Path) -> None:
        self.mixer = Mixer(Library(sounds), Narrator())
        self.truth: list[dict[str, Any]] = []
        self.site: dict[str, Any] = {"sources": {}, "behaviours": {}}
        self.media = HERE / "media"
        self.files, self.captions, self.folder = self.media / "files", self.media / "captions", HERE / "folder"

    def build(self) -> None:
        for folder in (self.files, self.captions, self.folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for number, scene in enumerate((*TALKING, *PLAIN, *MISBEHAVING)):
            print(scene.id, file=sys.stderr)
            self.add(scene, number)
        for scene in FOLDER:
            self.add_local(scene)
        for source_id, status in GONE.items():
            for page in (f"/watch/{source_id}", f"/api/{source_id}.json"):
                self.site["behaviours"][page] = {"status": status}
        self.write_lists()

    def add(self, scene: Scene, number: int) -> None:
        """One source of the site: its files, its captions, its metadata."""
        mixed = self.mix(scene)
        formats = [self.render(scene, mixed, form) for form in scene.formats]
        tracks: dict[bool, dict[str, list[dict[str, str]]]] = {False: {}, True: {}}
        for track in scene.tracks:
            tracks[track.automatic].setdefault(track.language, []).append(self.caption(scene, track, mixed))
        if not scene.garbage and any(form.acodec != "none" for form in scene.formats):
            self.truth += mixed.truth
        for form in scene.formats:
            if scene.behaviour:
                self.site["behaviours"][f"/media/{scene.id}.{form.ext}"] = scene.behaviour
        self.site["sources"][scene.id] = {
            "id": scene.id,
            "title": scene.title,
            "description": scene.description,
            "uploader": scene.uploader,
            "license": LICENSE,
            "duration": mixed.duration_ms / 1000 if scene.states_duration else None,
            "upload_date": f"2026{1 + number % 9:02d}{1 + 3 * number % 28:02d}",
            "view_count": 1000 + 137 * number,
            "tags": list(scene.tags),
            "formats": formats,
            "subtitles": tracks[False],
            "automatic_captions": tracks[True],
        }

    def mix(self, scene: Scene) -> Mixed:
        if not scene.stems:
            return self.mixer.mix(scene.id, scene.script, scene.voice, clear_s=0.3 if scene.tracks else 0.0)
        stems = [self.mixer.mix(f"{scene.id}.{k}", script, clear_s=0.0) for k, script in enumerate(scene.stems)]
        truth = [line | {"source_id": scene.id} for stem in stems for line in stem.truth]
        return Mixed(np.stack([stem.wave for stem in stems], axis=1), truth)

    def render(self, scene: Scene, mixed: Mixed, form: Format) -> dict[str, Any]:
        file = self.files / f"{scene.id}.{form.ext}"
        if scene.garbage:
            write_garbage(file, scene.garbage)
        else:
            render(mixed.wave, file, form)
        said: dict[str, Any] = {
            "format_id": form.format_id,
            "url": f"/media/{file.name}",
            "ext": form.ext,
            "acodec": form.acodec,
            "vcodec": "avc1.42001e" if form.video else "none",
            "filesize": file.stat().st_size or None,
        }
        if form.acodec != "none":
            said |= {
                "abr": form.kbps or round(file.stat().st_size * 8 / mixed.duration_ms),
                "asr": form.rate_hz,
                "audio_channels": 1 if mixed.wave.ndim == 1 else mixed.wave.shape[1],
            }
        if form.video:
            said |= {"width": 128, "height": 72, "fps": 4}
        return said

    def caption(self, scene: Scene, track: Track, mixed: Mixed) -> dict[str, str]:
        cues = mixed.translated if track.translated else mixed.cues
        forms: dict[str, tuple[str, Callable[[], str]]] = {
            "vtt": ("vtt", lambda: captions.vtt(cues, track.language)),
            "rich_vtt": ("vtt", lambda: captions.rich_vtt(cues, track.language)),
            "srt": ("srt", lambda: captions.srt(cues)),
            "rolling_json3": ("json3", lambda: captions.rolling_json3(cues, mixed.duration_ms)),
            "rolling_vtt": ("vtt", lambda: captions.rolling_vtt(cues, track.language)),
        }
        ext, written = forms[track.form]
        name = f"{scene.id}.{track.language}{'.auto' if track.automatic else ''}.{ext}"
        self.captions.joinpath(name).write_bytes(written().encode())
        return {"ext": ext, "url": f"/captions/{name}"}

    def add_local(self, scene: Scene) -> None:
        """One file of the local folder; a scene with a title gets a sidecar."""
        mixed, form = self.mix(scene), scene.formats[0]
        render(mixed.wave, self.folder / f"{scene.id}.{form.ext}", form)
        self.truth += [line | {"source_id": f"folder/{scene.id}.{form.ext}"} for line in mixed.truth]
        if scene.title:
            about = {"title": scene.title, "description": scene.description, "tags": list(scene.tags)}
            about |= {"license": LICENSE, "uploader": scene.uploader, "video_caption": "a tap above a kitchen sink"}
            self.folder.joinpath(f"{scene.id}.json").write_text(json.dumps(about, indent=2) + "\n")

    def write_lists(self) -> None:
        self.truth.sort(key=lambda line: (line["source_id"], line["start_ms"], line["kind"], line["end_ms"]))
        lines = [json.dumps(line, ensure_ascii=False) for line in self.truth]
        self.media.joinpath("truth.jsonl").write_text("\n".join(lines) + "\n")
        site = json.dumps(self.site, indent=1, ensure_ascii=False)
        self.media.joinpath("site.json").write_text(site + "\n")
        self.media.joinpath("LICENSES.md").write_text(licences(self.truth))
        HERE.joinpath("sources.txt").write_text(_sources())


def _sources() -> str:
    def url(source_id: str) -> str:
        return f"http://127.0.0.1:{PORT}/watch/{source_id}"

    parts = [SOURCES_HEAD]
    parts += ["# Somebody talks: the sounds are between the sentences.", *(url(s.id) for s in TALKING), ""]
    parts += ["# Plain recordings: no transcript.", *(url(s.id) for s in PLAIN), ""]
    parts += ["# The same source twice: planned once.", url(TALKING[0].id), ""]
    parts += ["# A site as sites are.", *(url(s.id) for s in MISBEHAVING), *(url(s) for s in GONE)]
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the demo's media site.")
    parser.add_argument("--sounds", type=Path, required=True, help="folder of recordings with sounds.jsonl")
    Builder(parser.parse_args().sounds).build()


if __name__ == "__main__":
    main()
