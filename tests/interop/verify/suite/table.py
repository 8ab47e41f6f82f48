"""What the verifiers said, as pages of the book."""

BEGIN, END = "<!-- begin: tests/interop/verify/run writes this -->", "<!-- end -->"
NOTHING = "–"


def cell(rows):
    """One verifier's say on one row: the parts of which it answered all well, in order; a dash if there is none."""
    parts = {}
    for part, result in rows:
        parts.setdefault(part, []).append(result)
    return ", ".join(part for part, results in parts.items() if set(results) == {"ok"}) or NOTHING


def table(title, names, rows):
    """A Markdown table: one line a row, one column a verifier, and who could check anything at all."""
    lines = [f"| {title} | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row, cells in rows.items():
        mark = "" if any(cells.get(name, NOTHING) != NOTHING for name in names) else " (**checked by nobody outside**)"
        lines.append(f"| {row}{mark} | {' | '.join(cells.get(name, NOTHING) for name in names)} |")
    return "\n".join(lines)


def replaced(text, content):
    """The page with what is between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"
