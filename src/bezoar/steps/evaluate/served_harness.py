"""A checkpoint as a model of lm-evaluation-harness, through a server that has loaded it."""

import copy
from pathlib import Path
from typing import Any, ClassVar

from bezoar.cache.folders import content_of
from bezoar.requests.blocks import Budget
from bezoar.requests.calls import Call
from bezoar.requests.openai import TEXTS, OpenAiBackend
from bezoar.requests.unstored import check_free, unstored
from bezoar.steps.evaluate.harness import Asking


def asked(checkpoint: Path, server: OpenAiBackend, block: Asking, seed: int, budget: Budget) -> Any:
    """A checkpoint for the harness, with the harness's own class for completions of such servers.

    Prompts are tokens of the checkpoint's own tokenizer, encoded as for a checkpoint that the job itself loads.

    Args:
        checkpoint: The model directory that the server has loaded.
        server: The server's backend.
        block: The evaluation.
        seed: Of all draws.
        budget: Has the price table.

    Raises:
        ValueError: Requests cost money.
    """
    check_free(server, budget)

    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from lm_eval.models.utils import normalize_gen_kwargs
    from transformers import AutoConfig

    from bezoar.steps import models

    provider = server.provider(content_of(checkpoint))
    config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)

    class ServedCheckpoint(LocalCompletionsAPI):
        chat_template_args: ClassVar[dict[str, Any]] = {}
        apply_chat_template = HFLM.apply_chat_template

        def tok_encode(
            self, string: Any, left_truncate_len: int | None = None, add_special_tokens: bool | None = None, **_: Any
        ) -> Any:
            """Token ids, as the harness's class for loaded checkpoints makes them; lists of them for several texts."""
            if not isinstance(string, str):
                return [self.tok_encode(one, left_truncate_len, add_special_tokens) for one in string]
            return HFLM.tok_encode(self, string, add_special_tokens, left_truncate_len)

        def _create_payload(
            self, messages: Any, generate: bool = False, gen_kwargs: Any = None, **more: Any
        ) -> dict[str, Any]:
            """A request's body; generation settings mean what they mean for loaded checkpoints."""
            settings = normalize_gen_kwargs(gen_kwargs, self._max_gen_toks) if generate else None
            return super()._create_payload(messages, generate=generate, gen_kwargs=settings, **more)

        async def get_batched_requests(
            self, requests: list[Any], cache_keys: Any, *, generate: bool = True, ctxlens: Any = None, **more: Any
        ) -> list[Any]:
            """What is read from the answer to each request, in a list each.

            The harness's own way would write the key into the log with every failure.
            """

            def body(prompt: list[int]) -> dict[str, Any]:
                given = copy.deepcopy(more.get("gen_kwargs"))
                return self._create_payload([prompt], generate, given, seed=self._seed, eos=self.eos_string)

            def read(response: Any, place: int) -> Any:
                if generate:
                    return [str(text) for text in self.parse_generations(response)]
                return self.parse_logprobs(response, ctxlens=[ctxlens[place]])

            calls = [Call(provider.name, TEXTS, None, body(prompt), "0") for prompt in requests]
            return await unstored(provider, server).answers(calls, read, f"requests to {server.name}")

    made = ServedCheckpoint(
        model=server.model,
        base_url=server.name,  # an address is looked up before each request
        tokenizer_backend="huggingface",
        tokenizer=str(checkpoint),
        max_length=min(block.max_length + 1, models.positions(config)),  # one is for the token that is written
        num_concurrent=2,  # more than one: `get_batched_requests` is used then, which has its own limit
        seed=seed,
    )
    made.add_bos_token = None
    return made
