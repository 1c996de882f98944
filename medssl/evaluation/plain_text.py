"""Names of methods, classes and cases where a program could take them for more than text."""

from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown_text(text: str) -> str:
    r"""Return a name that Markdown shows as it is: no HTML, no link, no line of its own.

    Example:
        >>> markdown_text("<b>a</b>\n[b](c)")
        '&lt;b>a&lt;/b> \\[b](c)'
    """
    text = " ".join(text.splitlines())
    for sign, shown in (("\\", r"\\"), ("&", "&amp;"), ("<", "&lt;"), ("[", r"\["), ("`", r"\`")):
        text = text.replace(sign, shown)
    return text


def figure_text(text: str) -> str:
    """Return a name that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def csv_cell(value: Any) -> Any:
    """Return a value with an apostrophe before a text that a spreadsheet would take for a formula.

    Example:
        >>> csv_cell("=1+1"), csv_cell(-1.0), csv_cell("liver")
        ("'=1+1", -1.0, 'liver')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def text_of_csv(cell: str) -> str:
    """Return the text that `csv_cell` made a cell of.

    Example:
        >>> text_of_csv("'=1+1"), text_of_csv("'a'")
        ('=1+1', "'a'")
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
