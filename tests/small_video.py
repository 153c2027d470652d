"""Small real video files whose colour tells the time: second k is filled with COLOURS[k % 6]."""

import av
import numpy as np

COLOURS = [(200, 30, 30), (30, 180, 30), (40, 40, 210), (210, 200, 40), (190, 40, 190), (40, 190, 190)]


def write_video(path, seconds, *, size=(160, 90), fps=8, key_every=8, audio=True, codec="mpeg4"):
    """A video of that many seconds, with a tone unless `audio` is False; returns the path."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=fps)
        video.width, video.height, video.pix_fmt, video.gop_size = *size, "yuv420p", key_every
        video.codec_context.max_b_frames = 0
        if codec.startswith("mpeg"):
            video.options = {"sc_threshold": "1000000000"}  # key frames where they are asked for, not at new colours
        tone = container.add_stream("aac", rate=16_000, layout="mono") if audio else None
        for at in range(round(seconds * fps)):
            colour = np.array(COLOURS[at // fps % len(COLOURS)], dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(np.broadcast_to(colour, (size[1], size[0], 3)).copy(), format="rgb24")
            frame.pts = at
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if tone is not None:
            wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.float32)
            for first in range(0, wave.size, 1024):
                frame = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16_000, first
                container.mux(tone.encode(frame))
            container.mux(tone.encode())
    return path


def second_of(image):
    """Which second (of the first six) an image was taken from, by its middle; None for a colour of no second."""
    pixel = np.asarray(image.convert("RGB"))[image.height // 2, image.width // 2].astype(int)
    off = [int(np.abs(pixel - np.array(colour)).max()) for colour in COLOURS]
    return int(np.argmin(off)) if min(off) < 30 else None
