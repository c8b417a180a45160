"""The skills that a scheme combines: a teacher names them for example requests, once for all shards."""

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bezoar.blocks import Sampling
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.requests.base import Backend, ask
from bezoar.steps import prompts
from bezoar.steps.data import accounting
from bezoar.steps.data.lots import Lots
from bezoar.steps.data.rows import DroppedRow, Row, SeedRow, normalized, reasons_of, row_id, write_rows
from bezoar.steps.generate.scheme import dropped_row, failed_row
from bezoar.steps.seeded import Seeded

NEEDS: dict[str, tuple[str, ...]] = {
    "skills": ("count", "examples"),
    "instruction": ("query_type", "skills"),
    "answer_system": (),
}
BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}\s*[.):](?!\d))\s*")
MOST_WORDS = 8  # of a skill's name; a longer line is a sentence


class Listing(Seeded):
    """What the list of skills depends on."""

    section: ClassVar[str] = "schemes"

    skill_calls: int = Field(20, ge=1, description="Calls that ask the teacher for skills, once for all shards.")
    examples_per_call: int = Field(5, ge=1, description="Seed instructions that such a call shows.")
    skills_per_call: int = Field(10, ge=1, description="Skills that such a call asks for.")
    sampling: Sampling = Sampling(temperature=0.7)


class SkillRow(Row):
    """A skill that the teacher named."""

    id: str
    skill: str = Field(min_length=1)


def listed(text: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The skills in an answer, one per line, and the lines that are none with their reasons."""
    lines = [BULLET.sub("", line).strip(" *.") for line in text.splitlines()]
    skills = [line for line in lines if line and len(line.split()) <= MOST_WORDS]
    return skills, [("too many words", line) for line in lines if len(line.split()) > MOST_WORDS]


def list_skills(
    seeds: list[SeedRow], teacher: Backend, block: Listing, templates: dict[str, str], seed: int
) -> tuple[list[SkillRow], list[DroppedRow], int]:
    """The skills that the teacher names for the seeds, each once; what was dropped; and the number of both."""
    lots = Lots([row.id for row in seeds])
    shown = [
        [seeds[place].instruction for place in lots.draw(f"{seed}:skills:{number}", block.examples_per_call)]
        for number in range(block.skill_calls)
    ]
    requests = [
        ask(
            f"skills:{number}",
            prompts.fill(templates["skills"], examples="\n\n".join(examples), count=str(block.skills_per_call)),
            block.sampling,
            sample=str(number),
        )
        for number, examples in enumerate(shown)
    ]
    found: dict[str, SkillRow] = {}
    dropped: list[DroppedRow] = []
    for number, answer in enumerate(teacher.complete(requests, "name skills")):
        if answer.fault:
            dropped.append(failed_row(answer, call=number))
            continue
        skills, refused = listed(answer.text)
        dropped += [dropped_row(reason, line, call=number) for reason, line in refused]
        for skill in skills:
            if normalized(skill) in found:
                dropped.append(dropped_row("duplicate", skill, call=number))
            else:
                found[normalized(skill)] = SkillRow(id=row_id("skill", normalized(skill)), skill=skill)
    return list(found.values()), dropped, len(found) + len(dropped)


def write_skills(rows: list[SkillRow], dropped: list[DroppedRow], seen: int, out_folder: Path) -> None:
    """Write the list of skills of a scheme, which has the name of the folder.

    Raises:
        ValueError: No skill was named, or one got lost.
    """
    step, reasons = f"skills {out_folder.name}", reasons_of(dropped)
    accounting.check_conserved(step, seen, len(rows), reasons)
    accounting.check_some(step, len(rows), seen, dropped, hint="look at the teacher's answers to the prompt `skills`")
    with artifact(out_folder) as out:
        write_rows(out / "skills.jsonl", rows)
        write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", {"listed": seen, "skills": len(rows), "dropped": reasons})
    logger.info(f"{step}: {len(rows):,} skills of {seen:,} listed; dropped {reasons or 'none'}")
