"""The page about a set of segmented scans: one HTML file with everything in it, for a reader without the program."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from medssl.evaluation.segment_report_style import STYLE
from medssl.files import replacing

# Below it, a structure is marked as unsure.
UNSURE = 0.7


@dataclass(frozen=True)
class StructureRow:
    """One structure of one scan.

    Attributes:
        name: of the structure.
        volume_ml: None where it was not found.
        confidence: from 0 to 1; None in a labelled scan or where it was not found.
        flags: what should be looked at.
    """

    name: str
    volume_ml: float | None
    confidence: float | None = None
    flags: Sequence[str] = ()


@dataclass(frozen=True)
class ScanRow:
    """One scan.

    Attributes:
        case: its id.
        file: its name.
        structures: rows of its structures.
        picture: PNG.
        notes: warnings about the scan.
        outputs: names of the files that were written, relative to the page.
    """

    case: str
    file: str
    structures: Sequence[StructureRow]
    picture: bytes
    notes: Sequence[str] = ()
    outputs: Sequence[str] = ()


@dataclass(frozen=True)
class SegmentReport:
    """What the page says.

    Attributes:
        title: heading.
        in_short: what made the segmentations, and what they are worth.
        colours: of the structures, by name.
        facts: how the result was made, as name and sentence.
        expected: Dice of every structure on labelled scans that were left out, and their mean; empty if unknown.
        expected_note: what that is worth.
        next_scans: which scans to label next, with the reason.
        left_out: files that were not used, with the reason.
        segmented: scans, most in need of a look first.
        labelled: scans with the user's own masks.
    """

    title: str
    in_short: str
    colours: Mapping[str, str]
    facts: Mapping[str, str]
    expected: Mapping[str, float | None]
    expected_note: str
    next_scans: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    segmented: Sequence[ScanRow] = ()
    labelled: Sequence[ScanRow] = ()


def write_segment_report(report: SegmentReport, path: Path) -> Path:
    """Write the page, whole or not at all, and return its path. Nothing in it comes from elsewhere.

    Args:
        report: what it says; every text is escaped.
        path: the HTML file.
    """
    flagged = sum(any(row.flags for row in scan.structures) for scan in report.segmented)
    body = [
        f"<h1>{escape(report.title)}</h1>",
        '<p class="warning">Research software, not a medical device. Look at every segmentation before you use it.</p>',
        f'<p class="short">{escape(report.in_short)}</p>',
        _overview(report, flagged),
        _section("Left out", _pairs(report.left_out), bool(report.left_out)),
        _section("Label these next", _next(report), bool(report.next_scans)),
        _section("How good the segmentations may be", _expected(report), True),
        f"<h2>Segmented scans ({len(report.segmented)})</h2>",
        _legend(report.colours),
        *(_scan(scan, report.colours) for scan in report.segmented),
        f"<h2>Your labelled scans ({len(report.labelled)})</h2>",
        *(_scan(scan, report.colours) for scan in report.labelled),
        _section("How it was made", _pairs(report.facts), True),
        _section("How to read this page", _EXPLANATION, True),
    ]
    head = f'<meta charset="utf-8"><title>{escape(report.title)}</title><style>{STYLE}</style>'
    with replacing(path) as temporary:
        page = f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'
        temporary.write_text(page, encoding="utf-8")
    return path


def _overview(report: SegmentReport, flagged: int) -> str:
    numbers = {
        "segmented": len(report.segmented),
        "with something to look at": flagged,
        "labelled by you": len(report.labelled),
        "left out": len(report.left_out),
    }
    tiles = "".join(f"<div><b>{number}</b>{name}</div>" for name, number in numbers.items())
    return f'<div class="tiles">{tiles}</div>'


def _section(title: str, content: str, shown: bool) -> str:
    return f"<h2>{title}</h2>{content}" if shown else ""


def _pairs(pairs: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in pairs.items())
    return f'<table class="pairs">{rows}</table>'


def _next(report: SegmentReport) -> str:
    items = "".join(
        f'<li><a href="#{_anchor(case)}">{escape(case)}</a>: {escape(reason)}</li>'
        for case, reason in report.next_scans.items()
    )
    return (
        "<p>A label of these scans should help most. Open the segmentation in 3D Slicer, correct it, save it into your "
        f"folder of labels, and run the same command again.</p><ol>{items}</ol>"
    )


def _expected(report: SegmentReport) -> str:
    note = f"<p>{escape(report.expected_note)}</p>"
    if not report.expected:
        return note
    cells = "".join(
        f"<tr><td>{_chip(report.colours.get(name))}{escape(name)}</td><td>{_number(dice)}</td>"
        f"<td>{_bar(dice)}</td></tr>"
        for name, dice in report.expected.items()
    )
    return f"{note}<table><tr><th>Structure</th><th>Dice</th><th></th></tr>{cells}</table>"


def _legend(colours: Mapping[str, str]) -> str:
    return f'<p class="legend">{"".join(f"<span>{_chip(c)}{escape(name)}</span>" for name, c in colours.items())}</p>'


def _scan(scan: ScanRow, colours: Mapping[str, str]) -> str:
    picture = base64.b64encode(scan.picture).decode()
    has_confidence = any(row.confidence is not None for row in scan.structures)
    titles = ["Structure", "Volume", *(["Confidence", "Look at"] if has_confidence else [])]
    rows = "".join(_structure(row, colours, has_confidence) for row in scan.structures)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in scan.notes)
    links = " · ".join(f"<code>{escape(name)}</code>" for name in scan.outputs)
    return (
        f'<section id="{_anchor(scan.case)}"><h3>{escape(scan.case)}</h3><p class="file">{escape(scan.file)}'
        f'{" → " + links if links else ""}</p>{notes}<div class="scan">'
        f'<img alt="axial, coronal and sagittal slice with outlines" src="data:image/png;base64,{picture}">'
        f"<table><tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>{rows}</table></div></section>"
    )


def _structure(row: StructureRow, colours: Mapping[str, str], has_confidence: bool) -> str:
    volume = "–" if row.volume_ml is None else f"{row.volume_ml:,.{1 if row.volume_ml >= 1 else 3}f} ml"
    cells = [f"{_chip(colours.get(row.name))}{escape(row.name)}", volume]
    if has_confidence:
        cells.append("–" if row.confidence is None else f"{_bar(row.confidence)}{row.confidence:.2f}")
        cells.append("".join(f'<span class="flag">{escape(flag)}</span>' for flag in row.flags) or "–")
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _bar(value: float | None) -> str:
    if value is None:
        return ""
    kind = "unsure" if value < UNSURE else "sure"
    return f'<span class="bar"><i class="{kind}" style="width:{100 * min(max(value, 0), 1):.0f}%"></i></span>'


def _chip(colour: str | None) -> str:
    return "" if colour is None else f'<i class="chip" style="background:{colour}"></i>'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _anchor(case: str) -> str:
    return "scan-" + "".join(character if character.isalnum() else f"_{ord(character):x}_" for character in case)


_EXPLANATION = """<ul>
<li><b>Pictures</b> show the axial, coronal and sagittal slice with most of the structures, the patient's right on the
left (R, L; A is front, P is back).</li>
<li><b>Confidence</b> is the mean probability that the network gives to its own answer, over the voxels of the
structure that it found; 1 is sure. It compares scans with each other. It is not the probability of being right: a
network that learnt from few labels is often sure and wrong.</li>
<li><b>Look at</b> names what is unlike your labelled scans: the structure touches an edge of the scan that it touches
in none of them; it has more separate parts than in any of them (parts below 5 % do not count); its volume is more than
2.5 times larger or smaller than the median of all scans; or it was not found although all labelled scans have it.</li>
<li><b>Dice</b> is the overlap with a mask drawn by a person: 1 is the same, 0 has nothing in common.</li></ul>"""
