"""What was run against what, as a table of the book."""

import re

from .stubs import Stub

BETWEEN = """These servers could not be had. The connectors went the same way to stand-ins, which shows that way and nothing of how the real CA behaves;
nobody has seen these connectors at the real CA:"""
BEGIN, END = "<!-- begin: tests/interop/upstreams/run writes this -->", "<!-- end -->"


def content(lines, held, day):
    """The tables: one row a line, first those at real servers, then those at stand-ins."""
    real = [line for line in lines if not issubclass(line.server_class, Stub)]
    stand_ins = [line for line in lines if issubclass(line.server_class, Stub)]
    return "\n".join([f"Last written by a run on {day}.", "", *rows(real, held), "", BETWEEN, "", *rows(stand_ins, held)])


def rows(lines, held):
    """One table."""
    made = ["| connector | how | against | what holds |", "|---|---|---|---|"]
    for line in lines:
        made.append(f"| `{line.kind}` | {line.__doc__.strip().rstrip('.')} | {line.server_class.what} | {', '.join(held[line.name])} |")
    return made


def replaced(text, made):
    """The page with what is between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def without_day(text):
    """The page without the one thing that differs from run to run."""
    return re.sub(r"(?m)^Last written by a run on .*$", "", text)
