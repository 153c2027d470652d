"""The command line: thin verbs over pipeline/. Heavy things are imported inside the verb that needs them.

Exit codes: 0 done; 1 something is left undone or damaged; 2 the input is wrong; 130, 143 stopped by a signal.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from pipeline.cli_caption import add_caption
from pipeline.cli_parts import recipe_options, speak_plainly
from pipeline.verbs_autocap import add_autocap
from pipeline.verbs_genau import add_genau

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="autorecap")
def main() -> None:
    """From a list of videos to a captioned, CLAP-scored, sharded audio-text corpus.

    \b
    autorecap plan   configs/demo.yaml          every clip that will be tried, before any audio is fetched
    autorecap run    configs/demo.yaml          fetch, cut, caption, score; resumes by itself
    autorecap status runs/demo                  progress, and losses by reason
    autorecap select runs/demo --preset MQ      a view: a query over stored columns
    autorecap export runs/demo --view MQ --out runs/demo/shards/MQ
    autorecap verify runs/demo                  every checksum, count and invariant
    """


@main.command()
@recipe_options
@click.option(
    "--dry-run", is_flag=True, help="Ask a sample of the sources and tell what all would cost; write nothing."
)
@click.option("--sample", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Sources of a dry run.")
@click.option(
    "--probe",
    type=click.IntRange(min=0),
    metavar="CLIPS",
    help="Time the model legs here with so many clips; 0: do not.",
)
@click.option(
    "--rate", "rates", multiple=True, metavar="LEG=CLIPS_PER_S", help="A model leg's rate, instead of a probe."
)
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: the estimate as one JSON object.")
@speak_plainly
def plan(
    config: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    sample: int,
    probe: int | None,
    rates: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask every source for its metadata and transcript and write down every clip that will be tried.

    Goes on where it was stopped; a longer source list adds what is new. Fetches no audio. Ends with an estimate:
    bytes to fetch, requests and days at the sites' ceilings, disk, and hours of the models by a short probe of them.
    """
    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run; of a plan that is made: autorecap status RUN --json")
    from pipeline.verbs_plan import dry_run_verb, plan_verb

    if dry_run:
        sys.exit(dry_run_verb(config, overrides, sample=sample, probe=probe, rates=rates, as_json=as_json))
    sys.exit(plan_verb(config, overrides, probe=probe, rates=rates))


@main.command()
@recipe_options
@click.option("--leg", "legs", multiple=True, help="Only this leg (may be given many times). Default: all, in order.")
@click.option(
    "--partition",
    default="1/1",
    show_default=True,
    metavar="I/N",
    help="This driver's share of the units, of N drivers.",
)
@click.option(
    "--follow", is_flag=True, help="Go on while the plan, or the leg before, is still being made; wait for it."
)
@click.option("--force", is_flag=True, help="Take the place of a driver that seems to be at work but is dead.")
@speak_plainly
def run(
    config: str, overrides: tuple[str, ...], legs: tuple[str, ...], partition: str, follow: bool, force: bool
) -> None:
    """Run the recipe's legs until every planned unit is committed. Stop it as you like; the same command resumes.

    \b
    autorecap run big.yaml --leg fetch --follow     beside `autorecap plan big.yaml`: what is planned is fetched
    autorecap run big.yaml --leg models --follow    on the GPU nodes: what is fetched is captioned and scored
    autorecap run big.yaml --partition 2/8          the second of eight drivers, each with a cluster of its own
    """
    from pipeline.verbs import run_verb

    sys.exit(run_verb(config, overrides, legs, share=partition, follow=follow, force=force))


@main.command()
@click.argument("run")
@click.option("--failures", is_flag=True, help="What has failed, by reason, with examples and what to do about it.")
@click.option("--sites", is_flag=True, help="Who is let in where: requests by site, sessions that pause, until when.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@speak_plainly
def status(run: str, failures: bool, sites: bool, as_json: bool) -> None:
    """What became of every source and clip of the run folder RUN: planned, ok, filtered, merged, failed, reasons."""
    if failures:
        from pipeline.verbs_retry import failures_verb

        sys.exit(failures_verb(run, as_json=as_json))
    from pipeline.verbs import sites_verb, status_verb

    sys.exit(sites_verb(run) if sites else status_verb(run, as_json=as_json))


@main.command()
@click.argument("run")
@click.option(
    "--reason",
    "reasons",
    default="transient",
    show_default=True,
    metavar="WORDS",
    help="Reasons with commas between, e.g. http_429,timeout; transient: all that may pass by themselves; all.",
)
@click.option("--leg", "legs", multiple=True, help="Only clips that failed in this leg (may be given many times).")
@click.option("--stage", help="Only clips that this stage ended.")
@click.option("--source-level", is_flag=True, help="Only sources that could not be planned.")
@click.option("--clips", is_flag=True, help="Only clips.")
@click.option("--older-than", metavar="AGE", help="Only what failed longer ago than this: 90m, 12h, 1d, 2w.")
@click.option("--dry-run", is_flag=True, help="Say what would be tried again, and change nothing.")
@speak_plainly
def retry(run: str, **options: Any) -> None:
    """Try again what has failed in RUN, and nothing else: `plan` and `run` then take it up, as a new attempt."""
    from pipeline.verbs_retry import retry_verb

    sys.exit(retry_verb(run, **options))


@main.command()
@click.argument("run")
@click.option("--name", help="The view's name. Default: the preset's, or 'view'.")
@click.option("--preset", help="AutoReCapXL, MQ, MQ-L or HQ: the paper's subsets, by the scorer's own thresholds.")
@click.option("--clap-min", type=float, help="Keep clips whose CLAP score is at least this.")
@click.option("--min-duration", type=float, metavar="SECONDS", help="Keep clips longer than this.")
@click.option("--where", help="""A filter, e.g. 'speech_ratio < 0.1 and not contains(caption, "wind")'.""")
@click.option("--keep-duplicates", is_flag=True, help="Take copies in that a dedup leg has found.")
@click.option("--keep", multiple=True, metavar="COLUMN", help="Carry this column, too, into view and exported records.")
@click.option("--leg", "legs", multiple=True, help="Of legs side by side, read this one (and what it starts from).")
@click.option(
    "--include-filtered",
    multiple=True,
    metavar="REASON",
    help="Take in clips that were filtered for this reason, where their audio was kept (keep_audio).",
)
@click.option("--table", type=click.Path(dir_okay=False), metavar="FILE", help="Also write the rows as one Parquet.")
@speak_plainly
def select(
    run: str,
    name: str | None,
    preset: str | None,
    clap_min: float | None,
    min_duration: float | None,
    where: str | None,
    keep_duplicates: bool,
    keep: tuple[str, ...],
    legs: tuple[str, ...],
    include_filtered: tuple[str, ...],
    table: str | None,
) -> None:
    """Make a view of RUN: a query over stored columns. No model runs; thresholds can be tried in seconds."""
    from pipeline.verbs import select_verb

    sys.exit(
        select_verb(
            run,
            name=name,
            preset=preset,
            clap_min=clap_min,
            min_duration_s=min_duration,
            where=where,
            keep_duplicates=keep_duplicates,
            keep=keep,
            legs=legs,
            include_filtered=include_filtered,
            table=table,
        )
    )


@main.command()
@click.argument("run")
@click.option("--view", required=True, help="A view made by select.")
@click.option("--out", required=True, help="Folder for the shards (or an fsspec URL).")
@click.option("--format", "format_name", default="webdataset", show_default=True, help="webdataset.")
@click.option("--codec", type=click.Choice(["flac", "wav", "opus", "mp3"]), default="flac", show_default=True)
@click.option("--sample-rate", type=int, metavar="HZ", help="Resample to this. Default: the master's rate.")
@click.option("--shard-clips", type=int, help="Clips of one shard. Default: by size.")
@click.option("--shard-mb", type=float, default=256.0, show_default=True, help="Size of one shard in megabytes.")
@click.option("--split", metavar="T/V/E", help="Shares of train/valid/test by source, e.g. 90/5/5. Default: all train.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the shuffle.")
@click.option(
    "--max-clip-s",
    type=float,
    metavar="SECONDS",
    help="Cut longer clips (joins) into windows of equal length, for trainers that take no more. Default: whole.",
)
@click.option(
    "--workers", type=click.IntRange(min=0), help="Shards written at the same time. Default: as many as there are CPUs."
)
@click.option("--ray-address", help="A cluster's address (auto, ray://host:10001). Default: a local Ray.")
@speak_plainly
def export(run: str, view: str, out: str, **options: Any) -> None:
    """Write a view as training shards of even size with index, checksums and a dataset card."""
    from pipeline.verbs import export_verb

    sys.exit(export_verb(run, view, out, **options))


@main.command()
@click.argument("path")
@click.option("--decode", is_flag=True, help="Also decode every clip and compare its samples with what is stated.")
@click.option("--sweep", is_flag=True, help="Delete what killed writers left behind (temporary files, orphan tars).")
@speak_plainly
def verify(path: str, decode: bool, sweep: bool) -> None:
    """Check a run folder or a folder of shards: every checksum, count and invariant. Exit code 1 on any fault."""
    from pipeline.verbs import verify_verb

    sys.exit(verify_verb(path, decode=decode, sweep=sweep))


@main.command()
@click.argument("files", nargs=-1)
@click.option("--text", "texts", multiple=True, help="What may be heard. Given several times: a matrix of scores.")
@click.option("--captions", type=click.Path(dir_okay=False), help="CSV or JSONL of file,caption: one score a line.")
@click.option("--model", default="embedded", show_default=True, help="A model's folder or file, or a Hub name.")
@click.option("--format", "format_name", type=click.Choice(["table", "jsonl", "csv"]), default="table")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@speak_plainly
def score(files: tuple[str, ...], texts: tuple[str, ...], captions: str | None, **options: Any) -> None:
    """CLAP scores of FILES (files, folders, patterns) with texts: how well each text fits each sound.

    Any length, rate and number of channels. Exit code 1 when a file could not be heard.
    """
    from pipeline.verbs_listen import score_verb

    sys.exit(score_verb(files, texts, captions, **options))


@main.command()
@click.argument("run")
@click.argument("text")
@click.option("--top", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many clips.")
@click.option("--view", help="Only clips of this view.")
@click.option("--model", help="The scorer for the text: folder, file or Hub name. Default: the one of the corpus.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--min-score", type=float, help="Only clips that fit at least so well.")
@click.option("--all", "everything", is_flag=True, help="Clips that were filtered or merged, and copies, too.")
@click.option("--leg", "legs", multiple=True, help="Of legs side by side, read this one (and what it starts from).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option("--html", type=click.Path(dir_okay=False), metavar="FILE", help="Also a page with players.")
@speak_plainly
def search(run: str, text: str, **options: Any) -> None:
    """Find the clips of RUN that TEXT fits best, e.g. "rain on a roof", by the embeddings it has stored."""
    from pipeline.verbs_listen import search_verb

    sys.exit(search_verb(run, text, **options))


@main.command()
@click.argument("run")
@click.option("--out", type=click.Path(dir_okay=False), default="report.html", show_default=True, metavar="FILE")
@click.option("--threshold", type=float, help="Show the clips nearest to this score. Default: the scorer's MQ.")
@click.option("--preset-model", help="The scorer to show, where there are several, as clap_model names it.")
@click.option("--examples", type=click.IntRange(0, 200), default=20, show_default=True, help="Clips of each list.")
@click.option("--leg", "legs", multiple=True, help="Of legs side by side, read this one (and what it starts from).")
@speak_plainly
def report(run: str, out: str, **options: Any) -> None:
    """What is inside RUN, for eyes and ears: yield, losses, scores, measures; the best, worst and nearest clips.

    One HTML file with everything in it. A run in progress shows what it has.
    """
    from pipeline.verbs_listen import report_verb

    sys.exit(report_verb(run, out, **options))


add_caption(main)
add_autocap(main)
add_genau(main)


def entry() -> None:
    """What the shell starts: the verbs, then an end without Python's tear-down.

    By then everything is on disk; what is left are idle threads of libraries, and one of those has been seen to abort
    the process while the interpreter was taken down, after a verb that had done all of its work.
    """
    from pipeline.stopping import leave

    try:
        main()
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))


if __name__ == "__main__":
    entry()
