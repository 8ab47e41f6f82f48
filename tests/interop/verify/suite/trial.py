"""Puts jobs to the verifiers, and then damaged copies of whatever they took: a verifier that takes those proves nothing."""

from pathlib import Path

from . import der

UNDAMAGED = ("handshake",)
"""Kinds whose damaged copies the verifier would have to send itself."""


class Trial:
    """The jobs of one run, what each verifier said, and what went wrong."""

    def __init__(self, work):
        self.work = Path(work)
        self.work.mkdir(parents=True)
        self.said, self.trouble, self.copies = {}, [], 0

    def put(self, verifier, rows):
        """Asks one verifier about rows of (section, row, jobs)."""
        jobs = []
        for section, row, asked in rows:
            for at, job in enumerate(asked):
                if "expect" in job and job["kind"] not in verifier.heeds_crls:
                    continue
                jobs.append({**job, "id": f"{section}/{row}/{at}", "row": (section, row)})
        answers = verifier.check(jobs) if jobs else {}
        taken = []
        for job in jobs:
            result, why = answers[job["id"]]
            expected = job.get("expect", "ok")
            if result == expected == "ok":
                taken.append(job)
            elif result not in (expected, "cannot") and not ("tolerate" in job and job["tolerate"] in why):
                self.trouble.append(f"{verifier.name} says {result} to {job['row'][1]}, {job['part']} ({job['kind']}, {job['file']}): {why}")
            # What has to be refused only counts against a part; it alone makes no part good.
            said = "ok" if result == expected else result
            self.said.setdefault((verifier.name, *job["row"]), []).append((job["part"], said))
        self.damage(verifier, taken)
        return answers

    def damage(self, verifier, taken):
        """None of the damaged copies of what the verifier took may be taken."""
        copies = []
        for job in taken:
            if job["kind"] in UNDAMAGED:
                continue
            # A binding to another certificate is damaged in that one.
            field = "other" if job["kind"] == "related" else "file"
            for how, octets in der.damaged(Path(job[field]).read_bytes(), job["kind"].startswith("alternative")).items():
                path = self.work / f"{len(self.said)}-{len(copies)}.der"
                path.write_bytes(octets)
                copies.append({**job, field: str(path), "id": f"{job['id']}/{how}"})
        for name, (result, _) in (verifier.check(copies) if copies else {}).items():
            if result == "ok":
                self.trouble.append(f"{verifier.name} says ok to a damaged copy: {name}")
        self.copies += len(copies)
