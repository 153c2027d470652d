"""README.md of an export: what is inside, how the usual trainers read it. Holds counts, no source's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def data_card(request: Mapping[str, Any], counts: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    """The card as Markdown, with the front matter that the Hugging Face Hub reads."""
    filled = {split: count for split, count in counts.items() if count["shards"]}
    view = summary["view"]
    rate = request["sample_rate_hz"]
    rate_text = f"{rate} Hz" if rate else "the master's rate (stated in each record)"
    lines = [
        "---",
        "task_categories: [text-to-audio, audio-classification]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(f'  - {{split: {_hub_split(split)}, path: "{split}/*.tar"}}' for split in filled),
        "---",
        "",
        f"# {view['name']}",
        "",
        f"Captioned audio clips, {request['codec']}, mono, {rate_text}. Made by AutoReCap;",
        "captions are written by a model and scored by a CLAP model: each record names both.",
        *([f"Read from the legs {', '.join(view['legs'])} of the run."] if "legs" in view else []),
        "",
        "| split | samples | sources | hours | shards | MB |",
        "|---|---|---|---|---|---|",
        *(_line(split, count) for split, count in counts.items()),
        "",
        "Splits are by source: no source has clips in two of them.",
        "",
        "## Read it",
        "",
        "```python",
        "import webdataset as wds",
        f'dataset = wds.WebDataset("{_shards_pattern(request, filled)}", shardshuffle=False)',
        "```",
        "",
        "- stable-audio-tools: a data set of type `wds` with this folder as path; `text` becomes the prompt.",
        "- LAION-CLAP: `--dataset-type webdataset --datasetpath <the folder above>",
        "  --datasetnames <this folder's name>`; it wants 48,000 Hz FLAC and clips of at most 10 s, and finds",
        "  `sizes.json` beside the shards.",
        '- Hugging Face: `load_dataset("webdataset", data_files={"train": "train/*.tar"})`.',
        "",
        "`index.parquet` has a row per sample (key, shard, offset, SHA-256, span, caption, score),",
        "`manifest.json` the query, the options and the SHA-256 of every file; `autorecap verify` with this",
        "folder checks them all.",
        "",
        "## Rights",
        "",
        "The audio belongs to its authors. Each record carries `url` and `license` as the source states",
        "them; check them before you train on, or pass on, anything here.",
        "",
    ]
    return "\n".join(lines)


def _line(split: str, count: Mapping[str, Any]) -> str:
    megabytes = count["bytes"] / 1e6
    return (
        f"| {split} | {count['samples']} | {count['sources']} | {count['hours']:.3f} | {count['shards']} "
        f"| {megabytes:.1f} |"
    )


def _shards_pattern(request: Mapping[str, Any], filled: Mapping[str, Mapping[str, Any]]) -> str:
    split, count = next(iter(filled.items()))
    last = count["shards"] - 1
    prefix = request["prefix"]
    if last == 0:
        return f"{split}/{prefix}00000.tar"
    return f"{split}/{prefix}{{00000..{last:05d}}}.tar"


def _hub_split(split: str) -> str:
    """The Hub says validation where LAION's readers say valid."""
    return "validation" if split == "valid" else split
