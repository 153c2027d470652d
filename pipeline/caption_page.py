"""The captioner on a page for the browser: a sound in, its caption and CLAP score out. `autorecap autocap demo`.

What serves it is in pipeline/page_server.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.shown import one_line

if TYPE_CHECKING:
    from pipeline.teller import Teller


def make_page(teller: Teller) -> Any:
    """Gradio's Blocks."""
    import gradio

    from captioner.load import model_name

    with gradio.Blocks(analytics_enabled=False, title="AutoReCap: captions", delete_cache=(3600, 3600)) as page:
        gradio.Markdown("# Captions for sounds")
        with gradio.Row():
            with gradio.Column():
                file = gradio.Audio(
                    sources=["upload"],
                    type="filepath",
                    label="Sound",
                    editable=False,
                    buttons=["download"],
                    elem_id="sound",
                )
                title = gradio.Textbox(label="Title", elem_id="title", max_length=1000)
                video_caption = gradio.Textbox(label="Visual caption", elem_id="video-caption", max_length=1000)
                description = gradio.Textbox(label="Description", elem_id="description", max_length=5000, lines=2)
                beams = gradio.Slider(1, 8, value=teller.beams, step=1, label="Beams", elem_id="beams")
                button = gradio.Button("Caption", variant="primary", elem_id="run")
            with gradio.Column():
                caption = gradio.Textbox(label="Caption", elem_id="caption", interactive=False)
                score = gradio.Textbox(label="CLAP score", elem_id="score", interactive=False)
                note = gradio.Textbox(label="Heard", elem_id="note", interactive=False)
                model = gradio.Textbox(label="Model", value=model_name(teller.captioner), interactive=False)
                model.elem_id = "model"
        button.click(
            lambda *given: tell(teller, *given),
            inputs=[file, title, video_caption, description, beams],
            outputs=[caption, score, note],
            api_visibility="private",
            concurrency_limit=1,
        )
    return page


def tell(
    teller: Teller, file: str | None, title: str, video_caption: str, description: str, beams: float
) -> tuple[str, str, str]:
    """Caption, score and what was heard; or nothing, and why."""
    from dataclasses import replace

    from captioner.load import Metadata
    from pipeline.caption_files import tell_files
    from pipeline.shown import clock

    if not file:
        return "", "", "give a sound: any rate, any length, mono or stereo"
    metadata = Metadata(title or "", description or "", video_caption or "")
    (told,) = tell_files(replace(teller, beams=min(max(int(beams), 1), 8)), [file], lambda _: metadata)
    if told.caption is None:
        return "", "", f"{told.reason}: {one_line(told.detail, 300)}"
    score = "" if told.score is None else f"{told.score:.3f}"
    return one_line(told.caption), score, f"{clock(told.start_ms)} to {clock(told.end_ms)}"
