import re

import numpy as np
import pytest

from medssl.evaluation.segment_report import ScanRow, SegmentReport, StructureRow, write_segment_report
from medssl.evaluation.segment_thumbnail import thumbnail

EVIL = '"><script>alert(1)</script>'


@pytest.fixture
def page(tmp_path):
    label = np.zeros((12, 10, 8), int)
    label[3:6, 3:6, 3:6] = 1
    picture = thumbnail(np.random.default_rng(0).random((12, 10, 8)), label, (1.0, 1.0, 2.0), {1: "red"})
    row = StructureRow(f"liver{EVIL}", 12.345, 0.5, [f"odd{EVIL}"])
    scan = ScanRow(EVIL, f"{EVIL}.nii.gz", [row, StructureRow("spleen", None)], picture, [EVIL], [EVIL])
    report = SegmentReport(
        *(EVIL, EVIL, {f"liver{EVIL}": "red", "spleen": "blue"}, {EVIL: EVIL}, {f"liver{EVIL}": 0.25}, EVIL),
        next_scans={EVIL: EVIL},
        left_out={EVIL: EVIL},
        segmented=[scan],
        labelled=[scan],
    )
    return write_segment_report(report, tmp_path / "report.html").read_text(encoding="utf-8")


def test_no_name_is_read_as_markup(page):
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_nothing_comes_from_elsewhere(page):
    assert not re.search(r"https?:|<link|<script|url\(", page)
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 2


def test_a_link_leads_to_its_scan(page):
    target = re.search(r'href="#([^"]+)"', page)[1]
    assert f'id="{target}"' in page


def test_volumes_confidences_and_flags_are_shown(page):
    assert "12.3 ml" in page and "0.50" in page and "odd" in page
    assert re.search(r"spleen</td><td>–</td><td>–</td>", page)
