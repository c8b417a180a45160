"""Whether an MT-Bench judge can be believed, by its ratings of the controls; models are judged only after it."""

import sys

from bezoar import gate, mtbench
from bezoar.files import write_json
from bezoar.logs import logger
from bezoar.mtbench import VerdictRow
from bezoar.rows import read_rows
from bezoar.script import Flags, run


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="evals.<name>.allow_compromised seed")
    flags.path("verdicts", "verdicts.jsonl of each control, in a folder of its name", many=True)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("out", "file to write the judge's id, and whether it is compromised, to")
    args, (allow_compromised, seed) = flags.start(argv)
    questions = mtbench.read_questions(args.questions)
    controls = {path.parent.name: list(read_rows(path, VerdictRow)) for path in args.verdicts}
    failed = gate.failures(controls, questions, seed)
    if failed:
        message = gate.refusal(controls, failed)
        if not allow_compromised:
            logger.error(message)
            sys.exit(1)
        logger.warning(message)
    judge = mtbench.one_judge(controls)
    write_json(args.out, {"judge": judge, "compromised": bool(failed)})  # no ratings: models don't depend on them
    logger.info(f"gate {args.out.stem}: {len(controls) - len(failed)} of {len(controls)} controls passed")


if __name__ == "__main__":
    run(main)
