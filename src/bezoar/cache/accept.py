"""`bezoar accept`: record that a change of code can't change results, in a file that others review."""

from pathlib import Path

import yaml

from bezoar.cache import CacheError, dvc
from bezoar.cache.build import Build
from bezoar.cache.code import ACCEPTED, CODE_LOCK, acceptances, accepted_entries, changes
from bezoar.errors import problem
from bezoar.files import whole

HEAD = "# Changes of code that somebody found to be cosmetic. `bezoar accept` adds to it; commit and review it.\n"


def accept(build: Build, name: str, reason: str) -> dict[str, list[str] | None]:
    """Accept a stage's proofs for its current code.

    Returns changed modules and packages by the affected names in code.lock; None if this cache never saw the earlier
    code.

    Raises:
        CacheError: The stage is unknown or isn't in dvc.lock, its code hasn't changed, or the same code is accepted
            already in place of other code.
    """
    recorded = dvc.as_map(dvc.as_map(dvc.read(dvc.LOCK).get(name, {}).get("params")).get(CODE_LOCK))
    if name not in build.stages or not recorded:
        known = ", ".join(sorted(stage for stage in dvc.read(dvc.LOCK) if stage in build.stages)) or "none"
        raise CacheError(problem("no stage to accept", found=name, expected=f"a stage of {dvc.LOCK}: {known}"))
    code = build.stages[name].steps[0].code
    if other := sorted(code.keys() - recorded.keys()):
        raise CacheError(
            problem(
                f"{name} was made by another script",
                found=", ".join(sorted(recorded)),
                expected=", ".join(other),
                hint=f"build {name}",
            )
        )
    changed = [one for one in code if code[one] != recorded.get(one)]
    if not changed:
        raise CacheError(problem("nothing to accept", found=f"unchanged code of {name}", expected="changed code"))
    earlier = acceptances()
    found: dict[str, list[str] | None] = {}
    path = Path(ACCEPTED)
    entries = accepted_entries()
    for one in changed:
        now, was = build.code.found[one], recorded[one]
        if (one, now) in earlier and earlier[one, now]["was"] != was:
            raise CacheError(
                problem(
                    f"{one} is accepted already in place of other code",
                    found=f"{earlier[one, now]['was']} in {ACCEPTED}",
                    expected=f"{was}, which made {name}",
                    hint=f"build {name}",
                )
            )
        what = found[one] = changes(one, was, now, build.cache, build.code.parts.get(one))
        entries.append({"code": one, "now": now, "was": was, "what": what, "reason": reason})
    with whole(path) as partial:
        partial.write_text(
            HEAD + yaml.dump(entries, Dumper=dvc.Dumper, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    return found
