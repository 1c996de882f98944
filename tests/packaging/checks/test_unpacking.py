import stat
import zipfile

import pytest

from medssl.packaging.checks import unpacking
from medssl.packaging.checks.unpacking import unpacked


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def require_refused(path, match):
    with pytest.raises(ValueError, match=match) as refused, unpacked(path):
        pass
    assert str(path) in str(refused.value)


def test_the_folder_exists_only_inside_the_block(tmp_path):
    with unpacked(write_zip(tmp_path / "b.zip", {"toy/LICENSE": "free", "toy/configs/a.json": "{}"})) as bundle:
        assert bundle.name == "toy"
        assert (bundle / "LICENSE").read_text(encoding="utf-8") == "free"
    assert not bundle.exists()


@pytest.mark.parametrize("name", ["../evil.txt", "toy/../../evil.txt", "/tmp/evil.txt"])
def test_a_member_outside_the_folder_is_refused_before_anything_is_written(name, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking.tempfile, "tempdir", str(tmp_path / "place"))
    (tmp_path / "place").mkdir()
    require_refused(write_zip(tmp_path / "b.zip", {"toy/LICENSE": "free", name: "evil"}), "Unsafe path")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b.zip", "place"]


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("toy/models/model.pt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    require_refused(tmp_path / "b.zip", "is a link")


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_HARMLESS_BYTES", 2**20)
    require_refused(write_zip(tmp_path / "b.zip", {"toy/zeros": bytes(2**21)}), r"unpacks to \d+ times its size")


def test_a_small_file_that_packs_well_is_not_a_bomb(tmp_path):
    with unpacked(write_zip(tmp_path / "b.zip", {"toy/zeros": bytes(2**20)})) as bundle:
        assert (bundle / "zeros").stat().st_size == 2**20


def test_too_many_members_are_refused(tmp_path):
    require_refused(write_zip(tmp_path / "b.zip", {f"toy/{n}": "" for n in range(1001)}), "1001 members")


def test_too_many_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_MAX_BYTES", 100)
    require_refused(write_zip(tmp_path / "b.zip", {"toy/a": bytes(101)}), "101 bytes")


def test_a_damaged_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "b.zip", {"toy/a": bytes(range(256)) * 50})
    content = bytearray(path.read_bytes())
    content[50] ^= 255
    path.write_bytes(content)
    require_refused(path, "not a complete zip")


def test_another_file_is_refused(tmp_path):
    (tmp_path / "b.zip").write_bytes(b"no zip at all")
    require_refused(tmp_path / "b.zip", "not a complete zip")


def test_a_zip_without_the_folder_of_a_bundle_is_refused(tmp_path):
    require_refused(write_zip(tmp_path / "b.zip", {"a/x": "", "b/x": ""}), "must hold one folder")
