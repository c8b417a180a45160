"""One answer for each of many prompts by Bespoke Curator's LLM, for benchmarks/llm.py; see README.md here.

$ scratch/peers/curator/bin/python benchmarks/peers/curator_rows.py --address http://127.0.0.1:8123/v1 --work WORK

It prints one line of JSON: rows, seconds of `LLM.__call__`, answers that aren't empty, and the number of these that
answer the current prompts. --work keeps the cache.
"""

import argparse
import json
import os
import sysconfig
import time
from pathlib import Path

UNLIMITED = 1_000_000_000  # per minute; Curator's default limit is lower, and the server's headers give none


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
    parser.add_argument("--concurrency", type=int, default=50, help="calls in flight; default: %(default)s")
    parser.add_argument("--edit", type=int, choices=(0, 1), default=0, help="1 edits one prompt")
    args = parser.parse_args()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    # its telemetry writes to HOME even if it is off
    os.environ |= {"HOME": str(work), "HF_HOME": str(work / "hub"), "CURATOR_CACHE_DIR": str(work / "curator")}
    os.environ |= {"TELEMETRY_ENABLED": "false", "CURATOR_VIEWER": "false", "CURATOR_DISABLE_RICH_DISPLAY": "1"}
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    tokenizers = Path(sysconfig.get_path("purelib")) / "litellm" / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)  # contains cl100k_base; otherwise it would be downloaded

    from bespokelabs import curator

    wanted = prompts(args.rows, bool(args.edit))
    model = curator.LLM(
        model_name="bench",
        backend="openai",
        backend_params={
            "base_url": args.address,
            "api_key": "none",
            "max_concurrent_requests": args.concurrency,
            "max_requests_per_minute": UNLIMITED,
            "max_tokens_per_minute": UNLIMITED,
            "require_all_responses": True,
        },
    )
    start = time.perf_counter()
    found = model(wanted)
    taken = time.perf_counter() - start
    answers = [answer for answer in found.dataset["response"] if answer]
    now = {" ".join(text.split()[::-1]) for text in wanted}  # the server answers with the prompt's words in reverse
    current = sum(answer.split(": ", 1)[1] in now for answer in answers)
    line = {"rows": args.rows, "seconds": round(taken, 3), "answers": len(answers), "current": current}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
