"""One answer for each of many prompts by distilabel's TextGeneration, for benchmarks/llm.py; see README.md here.

$ scratch/peers/distilabel/bin/python benchmarks/peers/distilabel_rows.py --address http://127.0.0.1:8123/v1 --work WORK

It prints one line of JSON: rows, seconds of `Pipeline.run`, answers that aren't empty, and the number of these that
answer the current prompts. --work keeps the cache.
"""

import argparse
import json
import os
import time
from pathlib import Path


def prompts(rows: int, edit: bool) -> list[str]:
    """A number of prompts; with `edit` the middle one differs."""
    texts = [f"Write one sentence about number {number} for a reader in a hurry." for number in range(rows)]
    if edit:
        texts[rows // 2] += " Be brief."
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="of benchmarks/llm_server.py, with /v1")
    parser.add_argument("--work", type=Path, required=True, help="folder of the cache")
    parser.add_argument("--rows", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--concurrency", type=int, default=50, help="rows of a batch; default: %(default)s")
    parser.add_argument("--edit", type=int, choices=(0, 1), default=0, help="1 edits one prompt")
    args = parser.parse_args()
    work = args.work.resolve()
    os.environ |= {"HF_HOME": str(work / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    os.environ |= {"HF_HUB_OFFLINE": "1", "DISTILABEL_LOG_LEVEL": "WARNING"}

    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    wanted = prompts(args.rows, bool(args.edit))
    with Pipeline(name="rows", cache_dir=work / "pipelines") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": text} for text in wanted], batch_size=args.concurrency)
        generate = TextGeneration(
            llm=OpenAILLM(model="bench", base_url=args.address, api_key="none"), input_batch_size=args.concurrency
        )
        load >> generate

    start = time.perf_counter()
    found = pipeline.run()
    taken = time.perf_counter() - start
    given = found["default"]["train"]["generation"] if found else []
    answers = [answer for answer in given if answer]
    now = {" ".join(text.split()[::-1]) for text in wanted}  # the server answers with the prompt's words in reverse
    current = sum(answer.split(": ", 1)[1] in now for answer in answers)
    line = {"rows": args.rows, "seconds": round(taken, 3), "answers": len(answers), "current": current}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":  # distilabel's processes read this file again
    main()
