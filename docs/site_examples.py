"""Extension of griffe: ``Example:`` of a docstring is the section that Google style calls ``Examples:``."""

import re
from typing import Any

from griffe import Extension, Object


class ExampleSections(Extension):
    """Renames the section, so that its code is shown as code and its brackets are not taken for links."""

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: D102
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
