import json


def test_advise_prints_a_table_and_settings_and_writes_them(medssl, ct_list, tmp_path):
    status, out, err = medssl("advise", ct_list, "--data", "ct", "--out", tmp_path / "advice.json")
    assert (status, err) == (0, "")
    assert "thick mm" in out and "liver" in out
    for setting in (
        "backbone: abdomen-ct-4mm –",
        "spacing: [4, 4, 6] –",
        "window_weights: [",
        "spacing of --data: [1, 1, 2] –",
    ):
        assert setting in out
    assert json.loads((tmp_path / "advice.json").read_text(encoding="utf-8"))["structures"]["liver"]["thickness"] > 0


def test_advise_without_a_label_says_so_and_writes_nothing(medssl, ct_list, tmp_path):
    content = json.loads(ct_list.read_text(encoding="utf-8"))
    images = ct_list.parent
    unlabeled = [{"case": c["case"], "image": str(images / c["image"])} for c in content["training"]]
    bare = {**content, "training": [], "validation": [], "test": [], "unlabeled": unlabeled}
    (tmp_path / "list.json").write_text(json.dumps(bare), encoding="utf-8")
    status, _, err = medssl("advise", tmp_path / "list.json", "--out", tmp_path / "advice.json")
    assert status == 1 and "no labelled case in 'training'; one is enough" in err
    assert not (tmp_path / "advice.json").exists()
