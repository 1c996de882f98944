import logging

import numpy as np
import pytest
import torch

from medssl.data.datalist import load_section
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows
from medssl.probe.cache import FeatureCache
from medssl.probe.dice import head_dice
from medssl.probe.fit import L2_CANDIDATES, L2_OF_ONE_CASE, fit_head, left_out_dice
from medssl.probe.rows import VoxelRows
from medssl.probe.solve import standardised
from medssl.scans.loading import VerifiedLoadImaged
from tests.probe.test_solve import case_of_classes

NAMES = ["liver", "spleen"]


def make_head(standardize=False):
    return LinearHead(2, level_channels=(2, 3), num_classes=2, standardize=standardize).eval()


def predictions(head, case):
    highest, channel = LinearHeadOnRows(head)(torch.from_numpy(case.features)).max(dim=1)
    return torch.where(highest > 0, channel + 1, 0).numpy()


@pytest.mark.parametrize("standardize", [False, True])
def test_the_head_predicts_what_was_solved(standardize):
    case = case_of_classes(num_rows=300)
    head = make_head(standardize)
    if standardize:
        for norm in head.norms:
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
    fit = fit_head(head, {"a": case}, NAMES)
    voxels, _ = standardised([case])
    np.testing.assert_array_equal(predictions(head, case), fit.solution.predict(voxels.features))
    assert (predictions(head, case) == case.labels).mean() > 0.7


def test_one_case_takes_the_stated_penalty_and_leaves_none_out():
    fit = fit_head(make_head(), {"a": case_of_classes()}, NAMES)
    assert (fit.l2, fit.dice_left_out) == (L2_OF_ONE_CASE, {})


def test_several_cases_take_the_penalty_with_the_highest_dice_of_cases_left_out():
    fit = fit_head(make_head(), {str(seed): case_of_classes(seed=seed, noise=3) for seed in range(3)}, NAMES)
    assert set(fit.dice_left_out) == set(L2_CANDIDATES)
    assert fit.dice_left_out[fit.l2] == max(fit.dice_left_out.values())


def test_a_given_penalty_is_not_searched():
    fit = fit_head(make_head(), {str(seed): case_of_classes(seed=seed) for seed in range(2)}, NAMES, l2=0.5)
    assert (fit.l2, fit.dice_left_out) == (0.5, {})


def partly_drawn(drawn, seed):
    """Rows of a case with both classes, and its label: classes that were not drawn are background in the label."""
    rng = np.random.default_rng(seed)
    true = np.repeat([0, 1, 2], 50)
    features = np.stack([true == 1, true == 1, true == 2, true == 2, true == 0], 1) + rng.normal(0, 0.2, (150, 5))
    label = np.where(np.isin(true, drawn), true, 0)
    return VoxelRows(features.astype(np.float32), label, np.ones(150, np.float32), np.array([150])), true


def test_a_class_that_most_labels_lack_is_found_where_its_absence_is_ignored_and_missed_where_it_is_background():
    cases = {str(n): partly_drawn([1, 2] if n == 0 else [1], n)[0] for n in range(4)}
    rows, true = partly_drawn([1, 2], seed=9)
    share = {}
    for absent in ("background", "ignore"):
        head = make_head()
        fit_head(head, cases, NAMES, l2=1e-3, absent=absent)
        found = predictions(head, rows)
        share[absent] = (found[true == 2] == 2).mean()
        assert (found[true == 1] == 1).mean() > 0.9
        assert (found[true == 0] == 0).mean() > 0.9
    assert share["background"] < 0.5 < 0.9 < share["ignore"]


def test_where_no_label_lacks_a_class_ignoring_changes_nothing():
    cases = {str(seed): case_of_classes(seed=seed) for seed in range(2)}
    fits = [fit_head(make_head(), cases, NAMES, absent=absent) for absent in ("background", "ignore")]
    torch.testing.assert_close(*(fit.solution.weights for fit in fits), rtol=0, atol=0)


def test_another_meaning_of_absence_is_an_error():
    with pytest.raises(ValueError, match="background or ignore"):
        fit_head(make_head(), {"a": case_of_classes()}, NAMES, absent="unknown")


def test_noise_of_the_cases_asks_for_a_stronger_penalty():
    rng = np.random.default_rng(0)

    def noisy(seed):
        case = case_of_classes(num_rows=60, seed=seed, noise=0.7)
        return case._replace(features=np.c_[case.features, rng.normal(size=(60, 300))].astype(np.float32))

    voxels, _ = standardised([noisy(seed) for seed in range(4)])
    dice = left_out_dice(voxels, 2, [1e-6, 1e-1])
    assert dice[1e-1] > dice[1e-6]


def test_a_class_that_no_case_shows_is_said_and_never_predicted(caplog):
    case = case_of_classes()
    case = case._replace(labels=np.where(case.labels == 2, 0, case.labels))
    head = make_head()
    with caplog.at_level(logging.WARNING):
        fit = fit_head(head, {"a": case}, NAMES)
    assert "No labelled case shows spleen; the probe never predicts it." in caplog.text
    assert fit.unseen == [2]
    assert 1 in predictions(head, case)
    far = case._replace(features=case.features * 1000)
    assert 2 not in predictions(head, far)


def test_a_case_without_any_class_is_said_and_taken_for_background(caplog):
    empty = case_of_classes(seed=1)._replace(labels=np.zeros(80, np.int64))
    with caplog.at_level(logging.WARNING):
        fit = fit_head(make_head(), {"a": case_of_classes(), "empty": empty}, NAMES)
    assert "Case empty shows no class; the probe takes it for background throughout." in caplog.text
    assert fit.dice_left_out == {} or np.isfinite(list(fit.dice_left_out.values())).all()


def test_where_no_case_shows_a_class_there_is_nothing_to_fit():
    empty = case_of_classes()._replace(labels=np.zeros(80, np.int64))
    with pytest.raises(ValueError, match=r"No labelled case shows any of liver, spleen \(a\).*Label at least one"):
        fit_head(make_head(), {"a": empty}, NAMES)


def test_a_probe_that_is_not_solved_is_said(caplog):
    fit_head(make_head(), {"a": case_of_classes()}, NAMES, max_evaluations=2)
    assert "The probe is not solved: after" in caplog.text


def test_the_same_cases_give_the_same_head():
    cases = {str(seed): case_of_classes(seed=seed) for seed in range(2)}
    first, again = make_head(), make_head()
    fit_head(first, cases, NAMES)
    fit_head(again, cases, NAMES)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_half_of_the_voxels_give_the_dice_of_the_fit_to_all_of_them(mr_list, tmp_path):
    load = VerifiedLoadImaged(["image", "label"], ensure_channel_first=True)
    scans = {}
    for case in load_section(mr_list, "training+test"):
        scan = load(dict(case))
        image = scan["image"].as_tensor().float()
        scans[case["case"]] = (image / image.max(), (scan["label"].as_tensor() > 0).byte())
    # Which voxels are chosen moves the Dice of one fit by up to 0.006.
    dice = np.mean([_dice_of_unseen_scan(scans, tmp_path, seed) for seed in range(3)], axis=0)
    assert dice[1] > 0.5
    assert dice[0] == pytest.approx(dice[1], abs=0.005)


def _dice_of_unseen_scan(scans, folder, seed):
    """Give the Dice of probes fitted to half of the voxels and to all, on the last scan, for one random backbone."""
    torch.manual_seed(seed)
    backbone = FPN(spatial_dims=3, base_channels=8, num_levels=3)
    cache = FeatureCache(folder, backbone, (40, 32, 20), num_classes=1)
    *fitted, unseen = scans
    dice = []
    for num_voxels in (12_800, 25_600):
        head = LinearHead(3, backbone.level_channels, num_classes=1)
        fit_head(head, {name: cache.volume(name, *scans[name], num_voxels) for name in fitted}, ["body"], l2=1e-2)
        every = cache.volume(unseen, *scans[unseen], num_voxels=25_600)
        assert every.weights.tolist() == [1.0] * 25_600
        dice.append(head_dice(head, [every], ["body"])["body"])
    return dice
