"""What a visual caption costs: requests and bytes on the demo's site, decoding a frame, and saying what is in it.

    python -m benchmarks.visual_captions                     # site and decoding
    python -m benchmarks.visual_captions --captioner         # a BLIP of the published size, random weights
    python -m benchmarks.visual_captions --captioner --device cuda --batch 256

Random weights cost what trained ones do, but say 20 word pieces each time: a caption of BLIP's has about ten.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import pyarrow.compute as pc
from PIL import Image

from corpus import plan_store
from corpus.store import Store
from examples.demo.server import HERE, DemoSite
from pipeline.chain import Link
from pipeline.config import load_recipe
from pipeline.plan import plan
from pipeline.run import ytdlp_options
from pipeline.worker import StageTally, run_stage, start_unit
from stages.base import Services, Stage
from stages.cut import Cut
from stages.fetch import Fetch
from stages.frame import Frame
from stages.images import open_image, to_jpeg
from stages.video_frames import VideoFrames

T = TypeVar("T")
#: Of ten seconds, in a minute of video.
CLIPS = 6
MEDIA_FILES = HERE / "media" / "files"


def of_the_demo() -> None:
    """Plan the demo's sources, then fetch and cut them without and with frames."""
    with tempfile.TemporaryDirectory() as folder, DemoSite() as site:
        sources = site.write_sources(Path(folder) / "sources.txt")
        recipe = load_recipe(Path("configs/demo.yaml"), [f"sources.0.path={sources}", f"run={folder}/run"])
        store = Store(f"{folder}/run")
        plan(recipe, store)
        print("the demo: requests and kB of leg fetch")
        print(f"{'':16}{'extractions':>12}{'audio':>7}{'kB':>8}{'pictures':>10}{'kB':>8}{'frames':>8}{'kB each':>9}")
        for name, stages in {"without": [Fetch(), Cut()], "with frames": [Fetch(), Cut(), Frame()]}.items():
            site.requests.clear()
            services = Services(
                run_root=store.root, cache_dir=Path(folder) / name.split()[0], ytdlp=ytdlp_options(recipe)
            )
            kept, why = run_fetch(store, stages, services)
            asked = Counter(request.path for request in site.requests if request.status in (200, 206))
            files = {path: MEDIA_FILES / path.removeprefix("/media/") for path in asked if path.startswith("/media/")}
            pictures = {path for path in files if path.endswith(".mp4") and f"{path[:-4]}.m4a" in files}
            pictures |= {path for path in files if path.endswith(".mp4") and f"{path[:-4]}.webm" in files}
            sound = set(files) - pictures
            extractions = sum(count for path, count in asked.items() if path.startswith("/api/"))
            print(
                f"{name:16}{extractions:12}{sum(asked[p] for p in sound):7}{kilobytes(files, sound):8.0f}"
                f"{sum(asked[p] for p in pictures):10}{kilobytes(files, pictures):8.0f}"
                f"{len(kept):8}{np.mean([len(jpeg) for jpeg in kept] or [0]) / 1000:9.1f}"
            )
        print(f"  {', '.join(f'{reason or kind}: {count}' for (kind, reason), count in why.most_common())}")


def run_fetch(store: Store, stages: list[Stage], services: Services) -> tuple[list[bytes], Counter[tuple[str, str]]]:
    """The leg's stages over every planned unit, in this process: the frames of live clips, and where they are from."""
    kept: list[bytes] = []
    why: Counter[tuple[str, str]] = Counter()
    for stage in stages:
        stage.open(services)
    for info in plan_store.iter_units(store):
        unit = start_unit(plan_store.read_unit(store, info.unit_id), info.unit_id)
        for stage in stages:
            unit = run_stage(Link(type(stage).__name__, stage, "tasks"), unit, StageTally(stage=""))
        if "frame_jpeg" in unit.column_names:
            live = unit.filter(pc.is_null(unit.column("outcome")))
            kept += [jpeg for jpeg in live.column("frame_jpeg").to_pylist() if jpeg]
            why.update(zip(live.column("frame_kind").to_pylist(), live.column("frame_reason").to_pylist(), strict=True))
    for stage in stages:
        stage.close()
    return kept, why


def kilobytes(files: dict[str, Path], paths: set[str]) -> float:
    return sum(files[path].stat().st_size for path in paths) / 1000


def of_decoding() -> None:
    """A frame in the middle of each 10 s clip, by the video's height."""
    print(f"\na frame of each of {CLIPS} clips, 30 frames a second, a key frame every 5 s; processor time, one thread")
    print(f"{'':10}{'ms a clip':>10}{'with JPEG':>11}{'kB each':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for width, height in ((256, 144), (640, 360), (1920, 1080)):
            path = video(Path(folder) / f"{height}.mp4", width, height)
            bare, images = timed(lambda path=path: frames(path))
            packed, jpegs = timed(lambda images=images: [to_jpeg(image, 384) for image in images])
            size = np.mean([len(jpeg) for jpeg in jpegs]) / 1000
            print(f"{f'{height}p':10}{bare / CLIPS * 1000:10.1f}{(bare + packed) / CLIPS * 1000:11.1f}{size:9.1f}")


def frames(path: Path) -> list[Image.Image]:
    with VideoFrames(path, 384) as source:
        return [source.at(10_000 * at + 5_000 + 900 * at) for at in range(CLIPS)]  # anywhere between key frames


def video(path: Path, width: int, height: int) -> Path:
    """A minute of drifting colours under noise, so that a coder has something to do."""
    rng = np.random.default_rng(0)
    small = (rng.random((10, height // 8, width // 8, 3)) * 255).astype(np.uint8)
    pictures = [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC)) for one in small]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", 150
        stream.codec_context.thread_count = 1
        for at in range(60 * 30):
            rolled = np.roll(pictures[at // 30 % 10], at % 30, axis=1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rolled), format="rgb24")
            frame.pts = at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def timed(run: Callable[[], T]) -> tuple[float, T]:
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


def of_captioning(device: str, batch: int, threads: int, beams: int) -> None:
    """Pictures a second of a BLIP of the published size: prepared, and captioned."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

    from stages.image_captioner import ImageCaptioner

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = BlipConfig(vision_config={"image_size": 384})
    model = BlipForConditionalGeneration(config).to(torch.bfloat16 if device == "cuda" else torch.float32)
    captioner = ImageCaptioner(
        model, BlipImageProcessor(), _NoWords(), model_id="random", weights_sha256="", device=device
    )
    jpegs = [noise_jpeg(seed) for seed in range(batch)]
    opening, images = timed(lambda: [open_image(jpeg) for jpeg in jpegs])
    preparing, pixels = timed(lambda: captioner.prepare(images))
    captioner.say(pixels[: min(batch, 2)], beams=beams)
    clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter
    started = clock()
    captioner.say(pixels, beams=beams)
    saying = clock() - started
    million = sum(weight.numel() for weight in model.parameters()) / 1e6
    print(f"\nBLIP, {million:.0f} M weights, {device}, {model.dtype}, batch {batch}, beams {beams}, {threads} threads")
    print(f"opened {opening / batch * 1000:.1f} ms, prepared {preparing / batch * 1000:.1f} ms a picture; ", end="")
    print(f"captioned {saying / batch * 1000:.1f} ms a picture, {batch / saying:.2f} pictures/s")


class _NoWords:
    def batch_decode(self, ids: object, **_: object) -> list[str]:
        return [""] * len(ids)  # type: ignore[arg-type]


def noise_jpeg(seed: int) -> bytes:
    small = (np.random.default_rng(seed).random((27, 48, 3)) * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((384, 216)).save(out, "JPEG", quality=85)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--captioner", action="store_true", help="time a BLIP of the published size, only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--beams", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.captioner:
        of_captioning(given.device, given.batch, given.threads, given.beams)
    else:
        of_the_demo()
        of_decoding()


if __name__ == "__main__":
    main()
