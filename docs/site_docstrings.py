"""Extension of griffe: docstrings as the website shows them."""

import re
from typing import Any

from griffe import Extension, Object


class Docstrings(Extension):
    """Names the section of examples as griffe does, and shows formulas as code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)


def readable(docstring: str) -> str:
    """Return a docstring in the Markdown of the website.

    Without ``Examples:``, the brackets of an example would be taken for links.
    """
    return re.sub(r"^( *)Example:$", r"\1Examples:", docstring.replace(":math:`", "`"), flags=re.MULTILINE)
