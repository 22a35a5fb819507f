"""``compare``: who is best, and when it refuses to say."""

from pathlib import Path

import pytest

from lightning_gans.__main__ import main
from lightning_gans.metrics import Score, append_scores, format_scores
from lightning_gans.metrics.naming import fidelity_name, lower_is_better

FID, COVERAGE = "fid_mnist-convnet_10k", "coverage_mnist-convnet_5k"
PROTOCOL = {"objective": "GAN", "split": "test", "weights": "ema", "seed": 0, "extractor_hash": "abc", "sample_sets": 3}


def scored(folder: Path, fid: float = 1.0, coverage: float | None = None, step: int = 100, **protocol: object) -> Path:
    values = {FID: fid} | ({} if coverage is None else {COVERAGE: coverage})
    whole = PROTOCOL | protocol
    append_scores(folder / "scores.jsonl", [Score(m, v, whole, spread=0.1, step=step) for m, v in values.items()])  # type: ignore[arg-type]
    return folder


def compared(capsys: pytest.CaptureFixture, *args: object) -> str:
    assert main(["compare", *map(str, args)]) == 0
    return capsys.readouterr().out


def order(table: str) -> list[str]:
    return [Path(line.split()[1]).name for line in table.splitlines() if line[:1].isdigit()]


def test_the_lowest_distance_and_the_highest_coverage_come_first(tmp_path, capsys):
    runs = [scored(tmp_path / name, fid, cov) for name, fid, cov in (("a", 3, 0.5), ("b", 1, 0.7), ("c", 2, 0.9))]
    out = compared(capsys, *runs, "--metric", "fid")
    assert order(out) == ["b", "c", "a"]
    assert "lower is better" in out and "1 ± 0.1" in out and "3 sample sets" in out
    assert order(compared(capsys, *runs, "--metric", COVERAGE)) == ["c", "b", "a"]
    both = compared(capsys, *runs)
    assert order(both) == ["b", "c", "a", "c", "b", "a"]
    assert both.count("protocol:") == 1 and "extractor_hash=abc" in both


def test_an_experiment_is_the_mean_over_its_runs(tmp_path, capsys):
    for seed, fid in enumerate((1.0, 2.0, 6.0)):
        scored(tmp_path / "many" / f"version_{seed}", fid, seed=seed)
    single = scored(tmp_path / "single" / "version_0", 2.5)
    out = compared(capsys, tmp_path / "many", single / "scores.jsonl")
    assert "3 ± 2.6" in out and "3 runs (seeds 0, 1, 2)" in out
    assert order(out)[-1] == "many"


def test_the_newest_score_counts_and_floors_and_folders_do_not(tmp_path, capsys):
    one, other = scored(tmp_path / "one", 9.0), scored(tmp_path / "other", 5.0)
    scored(one, 1.0, step=200)
    append_scores(one / "scores.jsonl", [Score(f"floor/{FID}", 0.1, PROTOCOL)])
    scored(one, 50.0, split="folder")
    out = compared(capsys, one, other)
    assert order(out) == ["one", "other"] and "floor" not in out and "50" not in out
    assert " 200" in out


def test_averaged_weights_stand_for_a_run_that_has_both(tmp_path, capsys):
    for name, fid in (("one", 1.0), ("other", 2.0)):
        scored(tmp_path / name, fid, split="validation", weights="ema")
        scored(tmp_path / name, 10.0, split="validation", weights="raw")
    out = compared(capsys, tmp_path / "one", tmp_path / "other", "--split", "validation")
    assert "weights=ema" in out and "10 ±" not in out


def test_other_objectives_seeds_and_choices_of_a_checkpoint_are_what_is_compared(tmp_path, capsys):
    one = scored(tmp_path / "one", 2, objective="GAN", seed=1, selected_by=None)
    other = scored(tmp_path / "other", 1, objective="InfoGAN", seed=2, selected_by="validation/fid")
    assert order(compared(capsys, one, other)) == ["other", "one"]


@pytest.mark.parametrize(
    ("key", "value"), [("weights", "raw"), ("extractor_hash", "abd"), ("data_fingerprint", "x"), ("n_real", 5)]
)
def test_other_protocols_are_refused_with_the_difference(key, value, tmp_path, refused):
    one, other = scored(tmp_path / "one"), scored(tmp_path / "other", **{key: value})
    sentence = refused("compare", one, other)
    assert f"{key} is {PROTOCOL.get(key, 'not recorded')} for {one} and {value} for {other}" in sentence


def test_what_cannot_be_compared_is_refused_in_a_sentence(tmp_path, refused):
    run = scored(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    assert "two runs or more" in refused("compare", run)
    assert "two runs or more" in refused("compare")
    assert "does not exist" in refused("compare", run, tmp_path / "gone")
    assert "no scores of the test images; measure with `test" in refused("compare", run, tmp_path / "empty")
    assert "no scores of the validation images" in refused("compare", run, run, "--split", "validation")
    losses = tmp_path / "losses"
    append_scores(losses / "scores.jsonl", [Score("loss/generator", 1.0, PROTOCOL)])
    assert "losses has of the test images can be ranked: it has loss/generator" in refused("compare", losses, run)
    assert f"no metric kid; it has {FID}" in refused("compare", run, run, "--metric", "kid")
    other = tmp_path / "other"
    append_scores(other / "scores.jsonl", [Score("fid_inception_10k", 1.0, PROTOCOL)])
    sentence = refused("compare", run, other, "--metric", "fid")
    assert FID in sentence and "fid_inception_10k" in sentence
    assert "'--metric'" in refused("compare", run, run, "--metrik", "fid")


def test_names_carry_extractor_and_n():
    names = [fidelity_name("fid", "mnist-convnet", n) for n in (500, 1000, 2500, 10_000)]
    assert names == [f"fid_mnist-convnet_{n}" for n in ("500", "1k", "2500", "10k")]


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("fid_mnist-convnet_10k", True),
        ("validation/raw/kid_inception_5k", True),
        ("inception_score_x_10", False),
        ("density_mnist-convnet_5k", False),
        ("density/mode_kl", True),
        ("validation/error_hungarian/digit", True),
        ("information_share/digit", False),
        ("validation/likelihood/kl", True),
        ("likelihood/log_likelihood", False),
    ],
)
def test_it_is_known_which_way_is_better(metric, lower):
    assert lower_is_better(metric) is lower


def test_a_floor_stands_beside_the_score_that_it_belongs_to():
    protocol = {"reference": "train", "n_fake": 60}
    scores = [
        Score("fid_tiny_60", 5.0, protocol | {"seed": 0}),
        Score("memorisation_z_tiny_6", 1.0, protocol | {"seed": 0, "n_fake": 6}),
        Score("nmi/digit", 0.5, {"n_generated": 50}),
        Score("floor/fid_tiny_60", 0.25, protocol | {"generated": "60 test images"}),
        Score("floor/fid_tiny_90", 0.125, protocol | {"generated": "90 test images", "n_fake": 90}),
    ]
    table = format_scores(scores)
    (line,) = [line for line in table.splitlines() if line.startswith("fid")]
    assert line.split()[-1] == "0.25"
    assert "floor: 60 test images in the generator's place" in table and "0.125" not in table
    assert table.count("protocol:") == 2


def refused(capsys: pytest.CaptureFixture, *args: object) -> str:
    assert main(["compare", *map(str, args)]) == 2
    return capsys.readouterr().err


def test_versions_that_repeat_a_seed_are_no_repetitions(tmp_path, capsys):
    for version in range(2):
        scored(tmp_path / "twice" / f"version_{version}", seed=0)
    other = scored(tmp_path / "other")
    assert "the seed of each is 0, 0" in refused(capsys, tmp_path / "twice", other)


def test_versions_of_different_lengths_are_no_repetitions(tmp_path, capsys):
    for version in range(2):
        scored(tmp_path / "longer" / f"version_{version}", seed=version, step=100 * (1 + version))
    other = scored(tmp_path / "other")
    assert "the number of steps of each is 100, 200" in refused(capsys, tmp_path / "longer", other)


def test_one_metric_measured_differently_does_not_keep_the_others_from_being_ranked(tmp_path, capsys):
    runs = [scored(tmp_path / name, fid, 0.5) for name, fid in (("a", 2.0), ("b", 1.0))]
    for run, k in zip(runs, (3, 5), strict=True):
        append_scores(run / "scores.jsonl", [Score(COVERAGE, 0.5, PROTOCOL | {"k": k}, step=100)])
    assert main(["compare", *map(str, runs)]) == 0
    printed = capsys.readouterr()
    assert order(printed.out) == ["b", "a"]
    assert COVERAGE not in printed.out and "k is 3" in printed.err


def test_it_is_said_over_what_a_spread_is(tmp_path, capsys):
    given = {"parzen_validation": {"spread": "standard error over test images"}, "two_sample_test/squared_mmd": {}}
    for name in ("one", "other"):
        scores = [Score(metric, 1.0, {"split": "test", "seed": 0} | own, 0.25) for metric, own in given.items()]
        append_scores(tmp_path / name / "scores.jsonl", scores)
    parzen, mmd = compared(capsys, tmp_path / "one", tmp_path / "other").split("two_sample_test")
    assert "1 ± 0.25  test images" in parzen and "1 ± 0.25  test samples" in mmd
