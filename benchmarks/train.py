"""Our training stages against TRL by hand: the same model, rows and settings, one process each, in turn.

    OMP_NUM_THREADS=1 python benchmarks/train.py --rounds 3
    python benchmarks/train.py --cases sft-lora dpo-full
    python benchmarks/train.py --peer PYTHON        # of an environment with LLaMA-Factory: its trainings, too

Prints tokens per CPU second of the steps, the start-up before the first step, and the peak of memory. The load of the
machine is printed, too: CPU seconds depend on it less than wall time does, but they do.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

ROWS, HELD, WORDS = 64, 8, "a boat can drift east for good if no one likes its old rope and sail".split()
LORA = {"rank": 16, "alpha": 32, "dropout": 0.0}
COMMON = {
    "init_from": "base", "mix": "rows", "compute_dtype": "float32", "merged_dtype": "float32", "lora": LORA,
    "learning_rate": 1e-3, "batch_size": 8, "max_length": 256, "epochs": 1.0, "save_steps": 1000,
}  # fmt: skip
FULL = {"tuning": "full", "lora": {}}
CASES: dict[str, dict[str, Any]] = {
    "sft-lora": {},
    "sft-lora-packed": {"packing": True, "batch_size": 4},
    "sft-nf4": {"quantization": "nf4"},
    "sft-nf4-packed": {"quantization": "nf4", "packing": True, "batch_size": 4},
    "sft-full": FULL,
    "sft-full-packed": {**FULL, "packing": True, "batch_size": 4},
    "dpo-lora": {},
    "dpo-nf4": {"quantization": "nf4"},
    "dpo-full": FULL,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter of an environment with LLaMA-Factory")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "CASE", "FOLDER"), help="of the processes that are measured")
    args = parser.parse_args()
    if args.one:
        way, case, folder = args.one
        print(json.dumps(measured(way, case, Path(folder))))
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {args.rounds} rounds")
        python = {"ours": sys.executable, "bare": sys.executable} | ({"peer": args.peer} if args.peer else {})
        names = ["ours", "TRL", "LLaMA-Factory"][: len(python)]
        ratios = [f"ours/{one}" for one in names[1:]]
        heads = [f"{one}, {what}" for what in ("tokens/CPU s", "start-up, CPU s", "peak, MB") for one in names]
        print(f"| case | {' | '.join([*ratios, *heads])} |")
        print("|---" * (1 + len(ratios) + len(heads)) + "|")
        for case in args.cases:
            print(row(case, rounds(case, Path(name), args.rounds, python)), flush=True)
        print(f"load after: {os.getloadavg()[0]:.1f}")


def rounds(case: str, folder: Path, count: int, python: dict[str, str]) -> dict[str, list[dict[str, float]]]:
    """What each way took in each round; every other round has the reverse order."""
    taken: dict[str, list[dict[str, float]]] = {way: [] for way in python}
    for number in range(count):
        for way in list(python) if number % 2 else reversed(python):
            words = [python[way], __file__, "--one", way, case, str(folder)]
            done = subprocess.run(words, env=environment(way), capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-4000:])
            taken[way].append(json.loads(done.stdout.splitlines()[-1]))
    return taken


def environment(way: str) -> dict[str, str]:
    """The environment of a job of a build, or of a shell."""
    from bezoar.cache.environment import environment_of

    mine = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return environment_of(mine) if way == "ours" else {**os.environ, **mine}


def row(case: str, taken: dict[str, list[dict[str, float]]]) -> str:
    middle = {way: {key: median(one[key] for one in found) for key in found[0]} for way, found in taken.items()}
    ratios = [
        median(one["speed"] / other["speed"] for one, other in zip(taken["ours"], taken[way], strict=True))
        for way in list(taken)[1:]
    ]
    cells = [
        f"{one[key]:,.{digits}f}"
        for key, digits in (("speed", 0), ("start", 1), ("peak", 0))
        for one in middle.values()
    ]
    return f"| {' | '.join([case, *(f'{ratio:.2f}' for ratio in ratios), *cells])} |"


# --- One process ----------------------------------------------------------------------------------------------------


def measured(way: str, case: str, folder: Path) -> dict[str, float]:
    """One training: its speed, start-up and peak."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """CPU time at the start of the first step and at the end of the last one."""

        first = last = 0.0
        tokens = 0  # without padding, where the trainer counts them

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.first = self.first or time.process_time()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.last = time.process_time()
            self.tokens = state.num_input_tokens_seen

    clock = Clock()
    work = Path(tempfile.mkdtemp(dir=folder))
    tokens = {"ours": ours, "bare": bare, "peer": peer}[way](case, folder, work, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"speed": tokens / (clock.last - clock.first), "start": clock.first, "peak": peak}


def ours(case: str, folder: Path, work: Path, clock: Any) -> int:
    """A stage, as its script runs it."""
    from bezoar.steps.train import dpo, preflight, sft, training
    from bezoar.steps.train.stage import Paths

    method = {"sft": sft, "dpo": dpo}[case[:3]]
    block = {"sft": sft.Sft, "dpo": dpo.Dpo}[case[:3]].model_validate({"method": case[:3], **COMMON, **CASES[case]})
    block._name = "stage"
    paths = Paths(folder / "base", None, folder / case[:3], work / "work", work / "stage")
    preflight.check(paths, block)
    trainer = method.trainer_of(paths, block, 0)
    trainer.add_callback(clock)
    training.run(trainer, paths, block, 0)
    return tokens_of(trainer.train_dataset)


def bare(case: str, folder: Path, work: Path, clock: Any) -> int:
    """What one writes with TRL's documentation at hand."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    values = {**COMMON, **CASES[case]}
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        folder / "base",
        dtype=torch.float32,
        quantization_config=four_bit if values.get("quantization") == "nf4" else None,
    )
    lora = LoraConfig(
        r=LORA["rank"], lora_alpha=LORA["alpha"], lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    settings = {
        "output_dir": str(work), "learning_rate": values["learning_rate"], "lr_scheduler_type": "cosine",
        "warmup_steps": 0.03, "num_train_epochs": 1.0, "per_device_train_batch_size": values["batch_size"],
        "max_length": values["max_length"], "gradient_checkpointing": False, "bf16": False, "use_cpu": True, "seed": 0,
        "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "dataloader_pin_memory": False,
    }  # fmt: skip
    rows = [json.loads(line) for line in (folder / case[:3] / "train.jsonl").read_text().splitlines()]
    dataset = Dataset.from_list([{name: one[name] for name in one if name != "id"} for one in rows])
    shared = {
        "model": model,
        "train_dataset": dataset,
        "processing_class": AutoTokenizer.from_pretrained(folder / "base"),
        "peft_config": None if "full" in case else lora,
        "callbacks": [clock],
    }
    if case.startswith("sft"):
        config = SFTConfig(**settings, completion_only_loss=True, packing=values.get("packing", False))
        trainer = SFTTrainer(**shared, args=config)
    else:
        trainer = DPOTrainer(**shared, args=DPOConfig(**settings, beta=0.1))
    trainer.train()
    trainer.save_model(str(work / "saved"))
    return tokens_of(trainer.train_dataset)


def peer(case: str, folder: Path, work: Path, clock: Any) -> int:
    """LLaMA-Factory with the same settings; its rows have no template, so its tokens are counted apart."""
    from llamafactory.train.tuner import run_exp

    values, full = {**COMMON, **CASES[case]}, "full" in case
    settings = {
        "stage": case[:3], "do_train": True, "model_name_or_path": str(folder / "base"), "template": "empty",
        "dataset": case[:3], "dataset_dir": str(folder / "peer"), "output_dir": str(work), "overwrite_cache": True,
        "finetuning_type": "full" if full else "lora", "cutoff_len": values["max_length"], "pref_beta": 0.1,
        "packing": values.get("packing", False), "learning_rate": values["learning_rate"], "warmup_steps": 0.03,
        "lr_scheduler_type": "cosine", "num_train_epochs": 1.0, "per_device_train_batch_size": values["batch_size"],
        "bf16": False, "use_cpu": True, "seed": 0, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "disable_gradient_checkpointing": True, "include_num_input_tokens_seen": "non_padding",
    }  # fmt: skip
    if not full:
        settings |= {"lora_rank": LORA["rank"], "lora_alpha": LORA["alpha"], "lora_dropout": 0.0, "lora_target": "all"}
    if values.get("quantization") == "nf4":
        settings |= {"quantization_bit": 4, "quantization_method": "bnb", "quantization_type": "nf4"}
    run_exp(settings, callbacks=[clock])
    return clock.tokens


def tokens_of(dataset: Any) -> int:
    """Tokens that a step sees; a prompt counts with each of its answers."""
    if "input_ids" in dataset.column_names:
        return sum(map(len, dataset["input_ids"]))
    return sum(2 * len(one["prompt_ids"]) + len(one["chosen_ids"]) + len(one["rejected_ids"]) for one in dataset)


def prepare(folder: Path) -> None:
    """A random Llama of 12 million weights, and rows of 30 to 200 words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from bezoar.steps.data.rows import write_rows

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet, special = sorted(pre_tokenizers.ByteLevel.alphabet()), ["<|pad|>", "<|start|>", "<|end|>"]
    pieces.train_from_iterator(
        [" ".join(WORDS)],
        trainers.BpeTrainer(vocab_size=1024, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token=special[0], bos_token=special[1], eos_token=special[2]
    )
    tokenizer.chat_template = (Path(__file__).parents[1] / "recipes/templates/openbezoar.jinja").read_text()
    tokenizer.save_pretrained(folder / "base")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1024,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    generator = random.Random(0)

    def said(role: str, least: int, most: int) -> list[dict[str, str]]:
        return [{"role": role, "content": " ".join(generator.choices(WORDS, k=generator.randint(least, most)))}]

    prompts = [said("user", 10, 80) for _ in range(ROWS)]
    chats = [{"id": str(n), "prompt": one, "completion": said("assistant", 20, 120)} for n, one in enumerate(prompts)]
    pairs = [
        {"id": str(n), "prompt": one, "chosen": said("assistant", 20, 120), "rejected": said("assistant", 20, 120)}
        for n, one in enumerate(prompts)
    ]
    for name, rows in (("sft", chats), ("dpo", pairs)):
        write_rows(folder / name / "train.jsonl", rows)
        write_rows(folder / name / "eval.jsonl", rows[:HELD])
    prepare_peer(folder / "peer", chats, pairs)


def prepare_peer(folder: Path, chats: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> None:
    """The same rows as LLaMA-Factory reads them."""
    folder.mkdir()
    columns = {"sft": {"response": "completion"}, "dpo": {"chosen": "chosen", "rejected": "rejected"}}
    sets = {}
    for name, rows in (("sft", chats), ("dpo", pairs)):
        flat = [{key: one[key][0]["content"] for key in one if key != "id"} for one in rows]
        (folder / f"{name}.json").write_text(json.dumps(flat))
        sets[name] = {"file_name": f"{name}.json", "columns": {"prompt": "prompt", **columns[name]}}
        sets[name]["ranking"] = name == "dpo"
    (folder / "dataset_info.json").write_text(json.dumps(sets))


if __name__ == "__main__":
    main()
