"""
What others wrote, on an operator's terminal: text, and nothing that a terminal or a table would obey.

A help desk's reason, a site's name and a subscriber's, who may be anybody with a web browser, are shown by commands.
"""

import re

from rich.console import Console
from rich.table import Column, Table

# C0 and C1, among them what moves the cursor, sets the title or writes the clipboard; line feeds and tabs are layout.
# And what turns around how the text beside it reads.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def console() -> Console:
    """Return a console in which square brackets are no markup, a number is no link and `:x:` no picture."""
    return Console(markup=False, highlight=False, emoji=False)


def folding_table(*columns: str | Column, show_lines: bool = False) -> Table:
    """Return a table that shows its cells whole: a word that is too long for its column goes on in the next line."""
    folding = (Column(c, overflow="fold") if isinstance(c, str) else c for c in columns)
    return Table(*folding, show_lines=show_lines)


def plain(text: str) -> str:
    r"""Return the text with each control character as `\u001b`: to be read, also inside of JSON."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
