from pathlib import Path

import pytest
import yaml

from pipeline.config import RecipeError, load_recipe

ROOT = Path(__file__).parents[2]
TRAININGS = ("autocap_*.yaml", "genau_*.yaml", "vae.yaml")
RECIPES = sorted(
    set((ROOT / "configs").glob("*.yaml")) - {path for some in TRAININGS for path in (ROOT / "configs").glob(some)}
)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_load(path):
    recipe = load_recipe(path)
    assert recipe.root_leg == "fetch"
    if path.stem == "autorecap_published":
        assert list(recipe.legs) == ["fetch"]  # captions and scores are the list's
    else:
        assert recipe.legs["models"].after == "fetch"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_key_of_a_shipped_recipe_has_a_comment(path):
    bare = []
    for line in path.read_text().splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#") and "#" not in stripped:
            bare.append(stripped)
    # Headings of nested sections and the path of a list speak for themselves.
    assert set(bare) <= {
        "models:",
        "stages:",
        "path: examples/demo/sources.txt",
        "path: examples/demo/folder",
        "path: videos.txt",
    }


def write(tmp_path, change):
    tree = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    change(tree)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def test_five_mistakes_are_all_reported_with_file_and_key(tmp_path):
    def spoil(tree):
        tree["plan"]["gap_min"] = 1  # unknown key
        tree["plan"]["clip_max_s"] = -3  # out of range
        tree["ytdlp"]["retries"] = "many"  # wrong type
        tree["legs"]["fetch"]["stages"][1]["sample_rate_hz"] = "fast"  # a stage's own key
        del tree["legs"]["models"]["stages"][0]  # a chain that does not fit

    path = write(tmp_path, spoil)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    text = str(caught.value)
    assert str(path) in text
    assert "5 mistakes" in text
    for key in (
        "plan.gap_min",
        "plan.clip_max_s",
        "ytdlp.retries",
        "sample_rate_hz",
        "legs.models.stages.0 (embed)",
    ):
        assert key in text, text


def stage_of(tree, use):
    return next(stage for stage in tree["legs"]["models"]["stages"] if stage["use"] == use)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t["legs"]["models"].update(after="fetched"), "no earlier leg is called 'fetched'"),
        (lambda t: t["legs"]["models"].pop("after"), "exactly one leg starts from the plan"),
        (lambda t: t["legs"]["fetch"]["stages"].append({"use": "cutt"}), "no stage is called 'cutt'"),
        (lambda t: t["legs"]["fetch"]["stages"].append({"use": "os:getcwd"}), "is no stage"),
        (lambda t: t["legs"]["fetch"]["stages"].append({"use": "nowhere:Thing"}), "cannot be loaded"),
        (lambda t: t["legs"]["fetch"]["stages"][0].update(speed=3), "unknown key"),
        (lambda t: t.update(name="a/b"), "name"),
        (lambda t: t["legs"]["dedup"].update(stages=[{"use": "cut"}]), "a leg has stages, or a job: one of the two"),
        (lambda t: t["legs"]["dedup"].pop("job"), "a leg has stages, or a job: one of the two"),
        (lambda t: t["legs"]["dedup"]["job"].update(min_overlap=2), "legs.dedup.job.min_overlap"),
        (lambda t: t["legs"]["dedup"]["job"].update(use="undo"), "legs.dedup.job.use"),
        (
            lambda t: t["legs"]["fetch"].update(
                stages=[s for s in t["legs"]["fetch"]["stages"] if s["use"] != "fingerprint"]
            ),
            "put `- use: fingerprint` in the leg that cuts, or set near: false",
        ),
        (lambda t: t["sources"].append({"type": "ftp"}), "sources.2"),
        (lambda t: t.pop("run"), "run: missing"),
        (lambda t: t["plan"].update(clip_min_s=20), "plan: .*no clip fits"),
        (lambda t: t["execution"]["pools"].update(modles={"workers": 8}), "pools.modles: no stage runs on a pool"),
        (lambda t: t["execution"]["pools"]["models"].update(python="/no/python"), "there is no interpreter"),
        (
            lambda t: stage_of(t, "score").update(clap={"long_clips": "crop"}),
            "with other options than embed's",
        ),
        (lambda t: stage_of(t, "score").update(model="other"), "model: 'other' with other"),
        (lambda t: stage_of(t, "embed").update(clap={"long_clips": "all"}), "clap.long_clips"),
    ],
)
def test_each_mistake_says_what_is_wrong(tmp_path, change, expected):
    with pytest.raises(RecipeError, match=expected.replace("(", r"\(")):
        load_recipe(write(tmp_path, change))


def test_any_key_can_be_overridden():
    recipe = load_recipe(
        ROOT / "configs/demo.yaml",
        [
            "plan.unit_clips=16",
            "sources.1.path=/data",
            "legs.fetch.cut.sample_rate_hz=16000",
            "execution.pools.models.workers=2",
        ],
    )
    assert recipe.plan.unit_clips == 16
    assert recipe.sources[1].path == "/data"
    assert recipe.legs["fetch"].stages[1].options["sample_rate_hz"] == 16000
    assert recipe.pool("models").workers == 2


@pytest.mark.parametrize(
    "text",
    [
        "plan.unit_clips",
        "plan.unit_clips.deep=3",
        "legs.fetch.mix.rate=2",
        "sources.9.path=x",
        "plan.unit_clips=[1",
    ],
)
def test_a_bad_override_is_a_mistake_like_any_other(text):
    with pytest.raises(RecipeError, match="--set"):
        load_recipe(ROOT / "configs/demo.yaml", [text])


@pytest.mark.parametrize("content", ["", "- a\n- b", "a: [", "a: !!python/object/apply:os.system ['true']"])
def test_files_that_are_no_recipe(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=r"mapping|YAML"):
        load_recipe(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bin.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(RecipeError, match="UTF-8"):
        load_recipe(tmp_path / "bin.yaml")


def published(tmp_path, stages):
    tree = yaml.safe_load((ROOT / "configs/autorecap_published.yaml").read_text())
    tree["legs"]["models"] = {"after": "fetch", "stages": stages}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def test_given_captions_can_be_scored_anew(tmp_path):
    stages = [{"use": "load_audio"}, {"use": "embed"}, {"use": "keywords"}, {"use": "score"}]
    load_recipe(published(tmp_path, stages))
    with pytest.raises(RecipeError, match="reads caption, which no earlier stage"):
        load_recipe(published(tmp_path, stages), ["sources=[{type: urls, path: a.txt}]"])


def test_new_captions_beside_given_scores_are_a_mistake(tmp_path):
    captions = [{"use": "load_audio"}, {"use": "embed"}, {"use": "caption"}]
    with pytest.raises(RecipeError, match="would leave the list's CLAP scores"):
        load_recipe(published(tmp_path, captions))
    load_recipe(published(tmp_path, [*captions, {"use": "score"}]))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "captions", "style": "clotho", "path": "a.csv"}, "sources.0: .*needs the `folder`"),
        ({"type": "captions", "style": "x", "path": "a", "folder": "b"}, "sources.0.style"),
        (
            {"type": "captions", "style": "clotho", "path": "a", "folder": "b", "columns": {"captions": []}},
            "sources.0.columns.captions",
        ),
        ({"type": "autorecap", "path": "a", "min_clap": 2}, "sources.0.min_clap"),
        ({"type": "folder", "path": "a", "name": "b/c"}, "sources.0.name"),
        ({"type": "clips", "path": "a", "items": []}, "sources.0.items: unknown key"),
    ],
)
def test_mistakes_of_sources_are_told_by_their_key(tmp_path, source, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, lambda tree: tree.update(sources=[source])))


def test_a_later_leg_cannot_read_what_an_earlier_one_does_not_keep(tmp_path):
    def score_again(tree):
        stages = [{"use": "score"}]
        tree["legs"]["rescore"] = {"after": "models", "stages": stages}

    load_recipe(write(tmp_path, score_again))
    with pytest.raises(RecipeError, match="reads clap_audio_embedding, which no earlier stage"):
        load_recipe(write(tmp_path, score_again), ["legs.models.embed.keep=false"])
