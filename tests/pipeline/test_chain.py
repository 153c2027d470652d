"""What a stage reads may depend on its options: the chain is checked for what it will really read."""

from pipeline.chain import chain_problems
from pipeline.config import Leg


def problems(*stages):
    fetch = {"stages": [{"use": "fetch"}, {"use": "cut"}]}
    models = {"after": "fetch", "stages": [{"use": "load_audio"}, *stages]}
    return chain_problems({"fetch": Leg.model_validate(fetch), "models": Leg.model_validate(models)})


CAPTION = [{"use": "embed"}, {"use": "caption"}]
BY_SOUND = {"use": "join", "by": "embedding", "min_similarity": 0.95}


def test_a_join_by_caption_needs_no_embedding_and_one_by_sound_no_caption():
    assert problems(*CAPTION, {"use": "join"}) == []
    assert problems({"use": "embed"}, BY_SOUND, {"use": "caption"}) == []
    assert problems({"use": "join"}) == [
        "legs.models.stages.1 (join): reads caption, which no earlier stage of this leg adds"
    ]
    assert problems(BY_SOUND) == [
        "legs.models.stages.1 (join): reads clap_audio_embedding, which no earlier stage of this leg adds"
    ]


def test_a_visual_caption_comes_before_the_captioner_that_reads_it():
    seen = {"use": "visual_caption", "model": "models/blip"}
    fetch = {"stages": [{"use": "fetch"}, {"use": "cut"}, {"use": "frame"}]}

    def of(*stages):
        models = {"after": "fetch", "stages": [{"use": "load_audio"}, *stages]}
        return chain_problems({"fetch": Leg.model_validate(fetch), "models": Leg.model_validate(models)})

    assert of(seen, *CAPTION) == of({"use": "embed"}, seen, {"use": "caption"}) == of(seen, seen) == []
    assert of(*CAPTION, seen) == [
        "legs.models.stages.3 (visual_caption): adds video_caption too late, caption has read it; put it before caption"
    ]
    assert problems(seen) == [
        "legs.models.stages.1 (visual_caption): reads frame_jpeg, which no earlier stage of this leg adds"
    ]
    late = {"after": "fetch", "stages": [{"use": "frame"}]}
    assert chain_problems({"fetch": Leg.model_validate(fetch), "models": Leg.model_validate(late)}) == [
        "legs.models.stages.0 (frame): reads media_path, which no earlier stage of this leg adds"
    ]


def test_a_later_leg_may_judge_what_the_first_one_measured():
    assert problems({"use": "measure", "min_mono_fold_db": -12}) == []
