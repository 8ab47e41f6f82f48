"""What was run against what, as a table of the book."""

import re

BEGIN, END = "<!-- begin: tests/interop/upstreams/run writes this -->", "<!-- end -->"


def content(lines, held, day):
    """The table: one row a line."""
    rows = [f"Last written by a run on {day}.", "", "| connector | how | against | what holds |", "|---|---|---|---|"]
    for line in lines:
        rows.append(f"| `{line.kind}` | {line.__doc__.strip().rstrip('.')} | {line.server_class.what} | {', '.join(held[line.name])} |")
    return "\n".join(rows)


def replaced(text, made):
    """The page with what is between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def without_day(text):
    """The page without the one thing that differs from run to run."""
    return re.sub(r"(?m)^Last written by a run on .*$", "", text)
