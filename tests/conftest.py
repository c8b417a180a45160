"""What tests share: real samples, the model server, a workspace to build in, a small model, and a closed network."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import promises
import pytest
import warm
from guard.sitecustomize import attempts  # refuses connections from here on
from server import Server
from templates import OPENBEZOAR

pytest_plugins = ["desk", "graph", "remotes", "slurm", "tree"]  # fixtures
ROOT = Path(__file__).parents[1]
GUARD = Path(__file__).parent / "guard"
REAL = ROOT.parent / "shared" / "data" / "real"
NEEDED = ("Snakefile", "rules", "scripts", "recipes", "profiles")
KEYS = ("TEACHER_API_KEY", "FILTER_API_KEY", "JUDGE_API_KEY")
OWN = ("PROXY", "_API_KEY", "_BASE_URL", "_AUTH_TOKEN", "HF_TOKEN")

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported


hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no reason to fail
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--promises", action="store_true", help="end with a line for each promise of the README")


def pytest_configure() -> None:
    """Let processes that tests start take Ctrl-C: a shell has those in its background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that build come first, so that no worker is left with a slow file at the end."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("promises"):
        outcomes = [
            (report.nodeid.split("::")[0].removeprefix("tests/"), outcome)
            for outcome in ("passed", "failed", "error", "skipped")
            for report in terminalreporter.getreports(outcome)
        ]
        terminalreporter.section("promises of the README")
        terminalreporter.write("".join(f"{line}\n" for line in promises.summary(outcomes)))


@pytest.fixture(autouse=True)
def closed_network() -> Iterator[None]:
    """Fail a test that tried to reach another machine."""
    attempts.clear()
    yield
    assert not attempts, f"tests stay on this machine, but this one tried {attempts}"


@pytest.fixture(autouse=True)
def no_own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Take the machine's proxies, addresses, keys and profile files away."""
    for name in list(os.environ):
        if any(name.upper().endswith(end) for end in OWN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path_factory.getbasetemp() / "no_profile"))


@pytest.fixture
def real() -> Path:
    """Folder of the real samples, which the repository doesn't contain."""
    if not REAL.is_dir():
        pytest.skip(f"no real samples on this machine: {REAL}")
    return REAL


@pytest.fixture
def server() -> Iterator[Server]:
    """The model server, running."""
    with Server() as running:
        yield running


@dataclass
class Workspace:
    """A folder to build in, apart from the repository; programs in it see no proxies, no hub and dummy keys only.

    What `run` runs starts warm (tests/warm); what `start` starts is a program from nothing, which may be killed.
    """

    WARM: ClassVar[bool] = True
    root: Path
    environment: dict[str, str]
    keys: list[str] = field(default_factory=list)

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """A program in the workspace that writes to a log file, in its own process group."""
        with log.open("wb") as file:
            return subprocess.Popen(
                command, cwd=self.root, env=self.environment, stdout=file, stderr=file, start_new_session=True
            )

    def run(self, *command: str) -> str:
        """Run a program to its end; its output, or a failed test that shows it."""
        status, output = self.outcome(*command)
        assert status == 0, f"{' '.join(command)}\n{output[-8000:]}"
        return output

    def refused(self, *command: str) -> str:
        """Run a program that must fail; what it said."""
        status, output = self.outcome(*command)
        assert status != 0, f"{' '.join(command)} must fail\n{output[-8000:]}"
        return output

    def outcome(self, *command: str) -> tuple[int, str]:
        """The exit status of a program, and what it said."""
        path = self.environment["PATH"]
        environment = {**self.environment, "PATH": warm.path(path) if self.WARM else path}
        found = shutil.which(command[0], path=environment["PATH"]) or command[0]
        done = subprocess.run(
            (found, *command[1:]),
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def snakemake(self, *arguments: str) -> str:
        """Run Snakemake on two cores."""
        return self.run("snakemake", "--cores", "2", *arguments)


@pytest.fixture
def workspace(tmp_path: Path, server: Server) -> Workspace:
    """A copy of what a build needs, without params.yaml; the package is the installed one."""
    return workspace_in(tmp_path, server)


def workspace_in(folder: Path, server: Server) -> Workspace:
    """The workspace of that fixture, in a folder."""
    root, home = folder / "workspace", folder / "home"
    home.mkdir()
    root.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copyfile(ROOT / name, root / name)
    keys = {name: f"dummy-{secrets.token_hex(12)}" for name in KEYS}
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.defpath]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(GUARD),  # has only a module that refuses connections to other machines
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "ANTHROPIC_CONFIG_DIR": str(home / "no_profile"),
        "TEACHER_BASE_URL": f"{server.address}/v1",
        "FILTER_BASE_URL": f"{server.address}/v1",
        "JUDGE_BASE_URL": server.address,  # Anthropic's client adds /v1 itself
        **keys,
    }
    return Workspace(root, environment, list(keys.values()))


@pytest.fixture(scope="session")
def random_llama() -> Callable[..., Path]:
    """Writes a two-layer Llama with random weights and a byte-level BPE tokenizer of some texts into a folder."""

    openbezoar = OPENBEZOAR.read_text()

    def write(folder: Path, texts: list[str], *, positions: int = 2048, chat_template: str | None = openbezoar) -> Path:
        import torch  # slow to import, and most tests need no model
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        special = ["<|pad|>", "<|start|>", "<|end|>"]
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=1024, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            intermediate_size=128,
            max_position_embeddings=positions,
            initializer_range=0.2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token=special[0], bos_token=special[1], eos_token=special[2]
        )
        fast.chat_template = chat_template
        fast.save_pretrained(folder)
        return folder

    return write
