"""Labels to match the baseline: worked out by hand, on both rules, with censoring, and held against the control."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from labelwise.analysis.halves import first_half, halves
from labelwise.analysis.matching import ORACLE, crossing, first_better, matches, needed
from labelwise.analysis.results import rounds
from labelwise.config import Study
from synthetic import make_store

LABELS = [100, 200, 300, 400]


def test_the_crossing_is_linear_on_the_isotonic_curve() -> None:
    assert crossing(LABELS, [0.5, 0.6, 0.7, 0.8], 0.65) == (pytest.approx(250), True)
    # 0.7 and 0.6 pool to 0.65, so that a lucky round is not taken for a crossing
    assert crossing(LABELS, [0.5, 0.7, 0.6, 0.8], 0.70) == (pytest.approx(300 + 100 * 0.05 / 0.15), True)
    assert crossing(LABELS, [0.5, 0.6, 0.7, 0.8], 0.5) == (100, True)
    assert crossing(LABELS, [0.5, 0.6, 0.7, 0.8], 0.2) == (100, True)
    assert crossing(LABELS, [0.5, 0.6, 0.7, 0.8], 0.81) == (400, False)
    assert crossing([100], [0.5], 0.6) == (100, False)


def test_the_published_rule_wants_both_accuracy_and_loss() -> None:
    run = pd.DataFrame({"labels": LABELS, "accuracy": [0.5, 0.8, 0.8, 0.8], "loss": [0.9, 0.9, 0.7, 0.5]})
    assert first_better(run, 0.7, 0.75) == (300, True)
    assert first_better(run, 0.7, 0.7) == (400, True)  # an equal loss is not lower
    assert first_better(run, 0.8, 0.7) == (400, False)


def test_halves_are_stratified_complete_and_the_seeds_own() -> None:
    truth = np.repeat([0, 1, 2], [10, 7, 4])
    first = first_half(truth, 3)
    assert abs(int(first.sum()) - 10.5) <= 0.5
    for k, size in enumerate((10, 7, 4)):
        assert abs(int(first[truth == k].sum()) - size / 2) <= 0.5
    assert (first == first_half(truth, 3)).all()
    assert (first != first_half(truth, 4)).any()
    assert first_half([0], 0).tolist() == [True]


def test_halves_of_a_round_average_to_the_whole(tmp_path: Path) -> None:
    store = make_store(tmp_path, Study.model_validate({"sizes": ["3%"], "seeds": 2, "arms": ["stratified", "margin"]}))
    found = rounds(store).merge(halves(store), on=["row", "arm", "seed", "round"])
    assert len(found) == 2 * 5
    middle = (found["accuracy_half1"] + found["accuracy_half2"]) / 2
    assert middle.to_numpy() == pytest.approx(found["accuracy"].to_numpy(), abs=1e-9)
    middle = (found["loss_half1"] + found["loss_half2"]) / 2
    assert middle.to_numpy() == pytest.approx(found["loss"].to_numpy(), rel=2e-3)  # predictions are float16


def some(curves: dict[str, list[list[float]]], baseline: list[float], own_labels: tuple[str, ...] = ()) -> pd.DataFrame:
    """Invent finished runs of one row: arm -> accuracies by round, a list a seed; loss is 1 - accuracy.

    own_labels: the arms that end with the baseline's own labels.
    """
    rows = []
    for arm, runs in {"stratified": [[value] for value in baseline], **curves}.items():
        for seed, run in enumerate(runs):
            labels = [400] if arm == "stratified" else LABELS[: len(run)]
            rows += [
                {"row": "3%/1%", "arm": arm, "strategy": arm.split()[0], "start": "stratified", "options": "{}",
                 "pool": "subset" if "subset" in arm else "full", "weighting": "none",
                 "labeler": "truth", "seed": seed, "round": i,
                 "labels": n, "accuracy": value, "loss": 1 - value, "budget": 400, "status": "done",
                 "fit_key": f"whole {seed}" if n == 400 and arm in {"stratified", *own_labels} else f"{arm} {seed} {n}"}
                for i, (n, value) in enumerate(zip(labels, run, strict=True))
            ]  # fmt: skip
    frame = pd.DataFrame(rows)
    halves = {f"{metric}_{half}": frame[metric] for metric in ("accuracy", "loss") for half in ("half1", "half2")}
    return frame.assign(**halves)


RISING = [0.5, 0.6, 0.7, 0.8]


def test_every_run_by_every_rule() -> None:
    found = matches(some({"margin": [RISING, RISING, RISING]}, [0.65, 0.59, 0.9]))
    oracle = found[found["rule"] == ORACLE]
    assert oracle["labels"].tolist() == [300, 200, 400]
    assert oracle["reached"].tolist() == [True, True, False]
    honest = found[found["rule"] == "accuracy"]
    assert honest["labels"].tolist() == pytest.approx([250, 190, 400])
    assert honest["reached"].tolist() == [True, True, False]
    assert found[found["rule"] == "loss"]["labels"].tolist() == pytest.approx([250, 190, 400])
    assert set(found["reference"]) == {"stratified"}


def test_the_two_ways_round_are_averaged_and_one_that_never_arrives_censors() -> None:
    frame = some({"margin": [RISING]}, [0.65])
    base = frame["arm"] == "stratified"
    frame.loc[base, ["accuracy_half1", "accuracy_half2"]] = [0.60, 0.70]
    one = matches(frame).set_index("rule").loc["accuracy"]
    assert one["labels"] == pytest.approx(math.sqrt(200 * 300))
    assert one["reached"]
    frame.loc[base, ["accuracy_half1", "accuracy_half2"]] = [0.60, 0.95]
    one = matches(frame).set_index("rule").loc["accuracy"]
    assert one["labels"] == pytest.approx(math.sqrt(200 * 400))
    assert not one["reached"]


def test_an_easier_half_moves_no_crossing() -> None:
    frame = some({"margin": [RISING]}, [0.65])
    frame["accuracy_half2"] += 0.1
    one = matches(frame).set_index("rule").loc["accuracy"]
    assert (one["labels"], one["reached"]) == (pytest.approx(250), True)


def test_reduction_and_interval_are_of_the_log_ratio() -> None:
    found = needed(matches(some({"margin": [RISING] * 3}, [0.62, 0.6, 0.64])))
    one = found[found["rule"] == "accuracy"].iloc[0]
    ratios = np.log(np.array([220, 200, 240]) / 400)
    expected = scipy.stats.ttest_1samp(ratios, 0)
    low, high = expected.confidence_interval()
    assert (one["n"], one["reached"], one["call"]) == (3, 3, "fewer")
    assert one["labels"] == pytest.approx(400 * np.exp(ratios.mean()))
    assert one["reduction"] == pytest.approx(1 - np.exp(ratios.mean()))
    assert (one["low"], one["high"]) == pytest.approx((1 - np.exp(high), 1 - np.exp(low)))
    assert one["p"] == one["p_holm"] == pytest.approx(expected.pvalue)


def test_runs_that_never_arrive_are_not_dropped() -> None:
    some_arrive = needed(matches(some({"margin": [RISING] * 4}, [0.65, 0.62, 0.9, 0.7])))
    one = some_arrive[some_arrive["rule"] == "accuracy"].iloc[0]
    assert (one["n"], one["reached"]) == (4, 3)
    known = 400 * np.exp(np.log(np.array([250, 220, 300]) / 400).mean())
    assert one["labels"] > known
    none_arrive = needed(matches(some({"margin": [RISING] * 3}, [0.9] * 3))).iloc[0]
    assert (none_arrive["n"], none_arrive["reached"], none_arrive["call"]) == (3, 0, "no difference shown")
    assert math.isnan(none_arrive["labels"])
    assert none_arrive["p"] == pytest.approx(scipy.stats.binomtest(3, 3).pvalue)
    none_of_ten = needed(matches(some({"margin": [RISING] * 10}, [0.9] * 10))).iloc[0]
    assert (none_of_ten["call"], none_of_ten["high"]) == ("more", 0)


def halved(baseline: list[float], cut: list[tuple[float, float]], own_labels: tuple[str, ...]) -> pd.DataFrame:
    """Invent runs whose baseline has these accuracies on the halves, by seed."""
    frame = some({"random subset": [RISING] * len(baseline)}, baseline, own_labels)
    base = frame["arm"] == "stratified"
    frame.loc[base, ["accuracy_half1", "accuracy_half2"]] = cut
    return frame


def test_a_run_that_ends_with_the_baselines_own_labels_needs_n_at_most() -> None:
    cut = [(0.60, 0.95), (0.78, 0.84), (0.9, 0.95)]
    found = matches(halved([0.8] * 3, cut, ("random subset",)))
    honest = found[found["rule"] == "accuracy"]
    assert honest["reached"].tolist() == [False] * 3
    assert honest["within"].tolist() == [True] * 3
    assert not found.loc[found["rule"] == ORACLE, "within"].any()
    one = needed(found).set_index("rule").loc["accuracy"]
    assert (one["within"], one["labels"], one["reduction"]) == (True, pytest.approx(400), 0)
    assert one["call"] == "no difference shown"
    other = needed(matches(halved([0.8] * 3, cut, ()))).set_index("rule").loc["accuracy"]
    assert not other["within"]
    assert math.isnan(other["labels"])


def test_a_run_that_matches_on_one_half_alone_is_a_bound_below_its_last_labels() -> None:
    found = matches(halved([0.8], [(0.60, 0.95)], ()))
    one = found[found["rule"] == "accuracy"].iloc[0]
    assert (one["labels"], one["reached"]) == (pytest.approx(math.sqrt(200 * 400)), False)


def test_an_arm_that_always_matches_is_told_from_a_control_that_never_does() -> None:
    late = [0.2, 0.3, 0.4, 0.5]
    curves = {"random": [late] * 10, "margin": [RISING] * 10}
    own = needed(matches(some(curves, [0.65, 0.6] * 5)))
    one = own[(own["rule"] == "accuracy") & (own["arm"] == "margin")].iloc[0]
    assert one["control_call"] == "fewer"
    assert one["control_p"] == pytest.approx(scipy.stats.binomtest(10, 10).pvalue)
    assert (one["control_low"], math.isnan(one["control_ratio"])) == (0, True)
    assert one["control_high"] == pytest.approx(250 / 400)  # the ninth of ten bounds
    random = own[(own["rule"] == "accuracy") & (own["arm"] == "random")].iloc[0]
    assert random["call"] == "more"


def test_a_control_that_ends_with_the_baselines_labels_needs_n() -> None:
    curves = {"random subset": [[0.2, 0.3, 0.4, 0.6]] * 3, "margin subset": [RISING] * 3}
    frame = some(curves, [0.65, 0.6, 0.62], ("random subset",))
    own = needed(matches(frame))
    one = own[(own["rule"] == "accuracy") & (own["arm"] == "margin subset")].iloc[0]
    assert one["control_ratio"] == pytest.approx(np.exp(np.log(np.array([250, 200, 220]) / 400).mean()))


def test_two_arms_that_need_n_at_most_differ_only_where_one_is_shown_to_save() -> None:
    early = [[0.5, 0.71, 0.75, 0.8], [0.5, 0.72, 0.75, 0.8], [0.5, 0.74, 0.75, 0.8]]
    late = [[0.5, 0.55, 0.6, 0.8]] * 3
    arms = ("random subset", "margin subset")
    frame = some({"random subset": late, "margin subset": early}, [0.8] * 3, arms)
    base = frame["arm"] == "stratified"
    frame.loc[base, ["accuracy_half1", "accuracy_half2"]] = [0.7, 0.95]  # earlier on one half alone
    one = needed(matches(frame)).set_index(["rule", "arm"]).loc[("accuracy", "margin subset")]
    assert one["control_ratio"] < 1
    assert one["control_p"] < 0.05
    assert (one["call"], one["control_call"]) == ("no difference shown", "no difference shown")


def test_curves_that_the_oracle_has_cut_get_no_honest_estimate() -> None:
    found = matches(some({"margin": [[0.5, 0.6]] * 3}, [0.55] * 3), whole=False)
    assert set(found["rule"]) == {ORACLE}


def test_the_control_is_random_in_the_same_pool() -> None:
    late = [0.4, 0.5, 0.6, 0.8]
    curves = {"random": [RISING] * 3, "margin": [late] * 3, "random subset": [late] * 3, "margin subset": [RISING] * 3}
    found = needed(matches(some(curves, [0.62, 0.6, 0.58])))
    own = found[found["rule"] == "accuracy"].set_index("arm")
    assert own.loc["margin", "control"] == "random"
    assert own.loc["margin subset", "control"] == "random subset"
    assert own.loc["random", "control"] == ""
    ratio = np.log(np.array([310, 300, 280]) / np.array([220, 200, 180]))
    expected = scipy.stats.ttest_1samp(ratio, 0)
    assert own.loc["margin", "control_ratio"] == pytest.approx(np.exp(ratio.mean()))
    assert own.loc["margin", "control_p"] == pytest.approx(expected.pvalue)
    assert own.loc["margin", "control_call"] == "more"
    assert own.loc["margin subset", "control_call"] == "fewer"
    both_late = needed(matches(some({"random": [RISING] * 3, "margin": [RISING] * 3}, [0.9, 0.65, 0.6])))
    one = both_late[(both_late["rule"] == "accuracy") & (both_late["arm"] == "margin")].iloc[0]
    assert one["control_n"] == 2  # where neither arrives, nothing is known of their ratio
    assert one["control_call"] == "no verdict"


def test_without_a_baseline_or_finished_runs_there_is_nothing_to_match() -> None:
    frame = some({"margin": [RISING]}, [0.6])
    assert matches(frame[frame["arm"] == "margin"]).empty
    assert matches(frame.assign(status="running")).empty
    assert needed(matches(frame.assign(status="running"))).empty


def test_a_baseline_of_another_weighting_is_no_target() -> None:
    frame = some({"margin": [RISING]}, [0.6])
    frame.loc[frame["arm"] == "margin", "weighting"] = "inverse"
    assert matches(frame).empty


def test_without_a_test_image_in_a_half_only_the_published_rule_is_left() -> None:
    frame = some({"margin": [RISING]}, [0.6])
    frame["accuracy_half2"] = math.nan
    assert set(matches(frame)["rule"]) == {ORACLE}
