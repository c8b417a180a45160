"""A second real server, `transformers serve`, as a teacher: whatever speaks OpenAI's protocol is one."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from llm import PRICE, addresses, block, ceilings

from bezoar.backends import ask, open_backend
from bezoar.params.blocks import Sampling

pytestmark = pytest.mark.end_to_end
TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=8)


@pytest.fixture
def address(tmp_path: Path, random_llama) -> Iterator[str]:
    from transformers import AutoTokenizer

    model = random_llama(tmp_path / "model", ["Name three rivers."] * 9)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(model)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HOME": str(tmp_path)}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [str(Path(sys.executable).with_name("transformers")), *words], env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, tmp_path / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a server answers."""
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"no answer from {url}\n{log.read_text()}")


def test_a_real_server_is_a_teacher_and_is_asked_once(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in addresses(address.removesuffix("/v1")).items():
        monkeypatch.setenv(name, value)
    model, log = str(tmp_path / "model"), tmp_path / "log"
    Path("prices.yaml").write_text(yaml.safe_dump({"prices": [PRICE | {"model": model}]}))
    teacher = block("openai", {"concurrency": 2, "timeout": 60.0, "deadline": 60.0}, model=model, tries=1)
    requests = [ask(f"{number}", f"Name {number} rivers", SAMPLING, "be brief") for number in range(3)]

    def answers():
        return open_backend(teacher, checkpoint=None, system="", seed=0, budget=ceilings()).complete(requests, "ask")

    first = answers()
    assert [one.finish_reason for one in first] == ["length"] * 3  # a random model never ends
    assert all(one.model.startswith(model) for one in first)
    assert log.read_text().count("POST /v1/chat/completions") == 3
    assert answers() == first
    assert log.read_text().count("POST /v1/chat/completions") == 3
