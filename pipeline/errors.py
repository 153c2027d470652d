"""The faults that are the user's to mend: told in a sentence, without a traceback."""

from __future__ import annotations


def known_errors() -> tuple[type[Exception], ...]:
    """Every exception class whose message is written for a user."""
    from captioner.evaluate import EvaluateError
    from captioner.load import CaptionerError
    from captioner.metrics.java import JavaError
    from corpus.compacted import CompactionError
    from corpus.expression import ExpressionError
    from corpus.shardplan import ExportError
    from corpus.storage_faults import StorageFault
    from corpus.store import StoreError
    from corpus.view_query import ViewError
    from generation.errors import GenerationError
    from pipeline.config import RecipeError
    from pipeline.engine import NoRay
    from pipeline.media_files import FilesError
    from pipeline.page_server import PageError
    from pipeline.plan import PlanError
    from pipeline.presence import OtherDriver
    from pipeline.report.facts import ReportError
    from pipeline.retry import RetryError
    from pipeline.run import LegStopped
    from pipeline.runfolder import OtherRun
    from pipeline.scorers import ModelError
    from pipeline.search import SearchError
    from pipeline.sources import SourceError
    from scorer.weights import WeightsError
    from training.errors import TrainError

    return (
        RecipeError,
        OtherRun,
        LegStopped,
        NoRay,
        OtherDriver,
        PlanError,
        RetryError,
        SourceError,
        ViewError,
        ExpressionError,
        ExportError,
        CompactionError,
        StoreError,
        StorageFault,
        ModelError,
        FilesError,
        PageError,
        SearchError,
        ReportError,
        TrainError,
        WeightsError,
        CaptionerError,
        EvaluateError,
        GenerationError,
        JavaError,
    )
