"""Blocks of the data half: sources, backends, schemes, filters and mixes."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, field_validator
from pydantic_core import PydanticCustomError

from bezoar.params.blocks import Block, Commit, EnvironmentName, Name, Path, Precision, Sampling, Sha256, Share

RowFormat = Literal[
    "text", "chat", "dolly", "flan", "seed_tasks", "hh_rlhf", "questions", "references", "judge_prompts", "items"
]

SLACK_OF_SHARES = 0.01  # published shares are rounded


class Builtin(Block):
    """Rows that the embedded world makes (bezoar.world)."""

    kind: Literal["builtin"]
    set: Name
    rows: int = Field(ge=1, description="Rows to make.")
    prompts: Path | None = Field(description="Folder of prompt files that the set `teacher` practises; else null.")


class File(Block):
    """A file in the repository: JSONL, TSV or Parquet, also gzipped."""

    kind: Literal["file"]
    path: Path
    sha256: Sha256


class Url(Block):
    """A file at an http(s) address, of the same kinds."""

    kind: Literal["url"]
    url: str = Field(pattern=r"^https?://")
    sha256: Sha256


class Hub(Block):
    """A data set of the Hugging Face hub at one revision."""

    kind: Literal["hub"]
    repository: str
    revision: Commit
    files: list[Path] | None = Field(description="Files or patterns in reading order; null takes the hub's own order.")
    split: str


class Source(Block):
    """A set of rows from outside, normalised to our own row type."""

    origin: Annotated[Builtin | File | Url | Hub, Field(discriminator="kind")]
    format: RowFormat
    first: int | None = Field(ge=1, description="Take only this many rows from the start; null takes all.")
    sample: int | None = Field(ge=1, description="Then draw this many without replacement; null keeps all.")
    max_dropped_share: Share = Field(
        0.5, description="Share of rows that may not fit or be duplicates; none at all left is always an error."
    )


class OwnServer(Block):
    """A server of one's own: what `bezoar serve` starts, and for how long."""

    command: list[str] = Field(min_length=1, description="Its words; {host} and {port} say where it is to listen.")
    health: str = Field(pattern=r"^/", description="Path that answers 200 once it is ready.")
    start: float = Field(gt=0, description="Seconds until it is ready, and that a job waits for it, at most.")
    idle: float = Field(gt=0, description="Seconds without a client after which it ends.")

    @field_validator("command")
    @classmethod
    def _somewhere(cls, command: list[str]) -> list[str]:
        if not any("{port}" in word for word in command):
            raise PydanticCustomError("command", "words of which one holds {port}", {"port": "{port}"})
        return command


class Connection(Block):
    """How a model server is reached; no result depends on it."""

    base_url_env: EnvironmentName | None = Field(description="Variable with the address; null for the maker's own.")
    server: OwnServer | None = Field(description="Where that variable isn't set; null for none of one's own.")
    api_key_env: EnvironmentName
    concurrency: int = Field(ge=1, description="A job's requests in flight at most; fewer while the server says 429.")
    requests_per_minute: int | None = Field(ge=1, description="Of one job; null for no limit but the server's own.")
    tokens_per_minute: int | None = Field(ge=1, description="Of one job, prompt and answer together; null likewise.")
    timeout: float = Field(gt=0, description="Seconds for one try, from sending to the last byte.")
    deadline: float = Field(gt=0, description="Seconds for all tries of one request.")
    batch: bool = Field(description="Send by the provider's batch API: half the price, within 24 hours.")


class BackendBlock(Block):
    _name: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """Its key in `backends`; empty for a block that is of no recipe."""
        return self._name

    def identity(self) -> dict[str, Any]:
        """What its answers depend on: every value but how it is reached."""
        return self.model_dump(exclude={"connection"})


Marker = Annotated[str, Field(min_length=1)]


class ChatBackend(BackendBlock):
    thinking: list[Annotated[list[Marker], Field(min_length=2, max_length=2)]] = Field(
        default=[["<think>", "</think>"]],
        description="Pairs of markers between which the model thinks, which is no part of its answer; [] for none.",
    )


class LocalBackend(ChatBackend):
    """A checkpoint of this recipe, or a base model, run in the job itself."""

    kind: Literal["local"]
    checkpoint: Name
    template: Literal["student"] | Annotated[str, Field(pattern=r"\{prompt\}")] = Field(
        description="`student` for the student's prompt, or a text with {prompt} and perhaps {system}."
    )
    batch_size: int = Field(ge=1, description="Prompts in one batch.")
    precision: Precision


class ApiBackend(ChatBackend):
    model: str
    json_schema: bool = Field(description="Whether the server enforces a JSON schema on verdicts.")
    tries: int = Field(ge=1, description="Times that a refused, cut or empty answer is asked at most.")
    most_tokens: int | None = Field(
        ge=1, description="Tokens up to which a cut answer's limit is doubled for its next try; null for any."
    )
    connection: Connection


class OpenAiBackend(ApiBackend):
    """Any endpoint that speaks OpenAI's chat completions."""

    kind: Literal["openai"]
    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        description="OpenAI's reasoning models want max_completion_tokens, vLLM takes max_tokens."
    )
    sends_sampling: bool = Field(description="False for models that refuse temperature and top_p.")


class AnthropicBackend(ApiBackend):
    """Anthropic's messages; current models take no sampling parameters."""

    kind: Literal["anthropic"]
    effort: Literal["low", "medium", "high"] | None


class VerifierBackend(BackendBlock):
    """The embedded world's own rules as a judge; it knows nothing outside that world."""

    kind: Literal["verifier"]


Backend = Annotated[LocalBackend | OpenAiBackend | AnthropicBackend | VerifierBackend, Field(discriminator="kind")]


class SchemeBlock(Block):
    seed_formats: ClassVar[tuple[RowFormat, ...]]  # formats of source that the scheme can start from

    seeds: Name = Field(description="Source that the scheme starts from.")
    teacher: Name = Field(description="Backend that writes.")
    prompts: Path = Field(description="Prompt file of the scheme.")
    sampling: Sampling
    most_failed: Share = Field(description="Share of a shard's candidates without a usable answer that a job bears.")
    max_dropped_share: Share = Field(
        0.95, description="Share of a shard's candidates, failed ones too, that may be dropped; of 20 or more."
    )


class Lamini(SchemeBlock):
    """LaMini-LM (Wu et al. 2023, arXiv:2304.14402): new instructions from examples, with and without topics."""

    seed_formats = ("seed_tasks", "dolly")

    method: Literal["lamini"]
    topics: Path | None = Field(description="Text file, one topic a line; null draws without topics only.")
    topic_share: Share = Field(description="Share of calls that are guided by topics.")
    calls: int = Field(ge=1, description="Listing calls over all shards.")
    examples_per_prompt: int = Field(ge=1)
    topics_per_prompt: int = Field(ge=0)
    instructions_per_call: int = Field(ge=1)
    fewest_instructions: int = Field(ge=1, description="A call that yields fewer is asked again.")
    attempts: int = Field(ge=1, description="Times that a listing call is asked at most.")
    most_words: int = Field(ge=1, description="Words of an instruction at most.")


class Evol(SchemeBlock):
    """Evol-Instruct (Xu et al. 2023, arXiv:2304.12244): a teacher rewrites an instruction, round by round."""

    seed_formats = ("dolly", "seed_tasks")

    method: Literal["evol"]
    operations: list[Literal["constraint", "deepen", "concretise", "reasoning", "complicate", "breadth"]] = Field(
        min_length=1, description="One is drawn for each row and round, uniformly."
    )
    rounds: int = Field(ge=1)
    most_characters: int = Field(ge=1, description="Characters of an instruction at most, asked for or written.")
    scaffold_words: list[str] = Field(description="Words of the prompts that no rewrite may contain.")
    refusal_words: int = Field(ge=0, description="A response with 'sorry' and fewer words than this is eliminated.")


class Orca(SchemeBlock):
    """Orca (Mukherjee et al. 2023, arXiv:2306.02707): explanations under a system message."""

    seed_formats = ("flan",)

    method: Literal["orca"]
    templates: list[Literal["zs_opt", "zs_noopt", "fs_opt", "fs_noopt"]] = Field(min_length=1)
    shares: dict[str, Share] | None = Field(description="Share of candidates by task_source; null takes rows as come.")
    candidates: int | None = Field(ge=1, description="Candidates over all shards; null takes every seed row.")
    most_characters: int = Field(ge=1, description="Characters of system message and input together at most.")
    max_missing_share: Share = Field(
        0.75,
        description="Share of a shard's candidates that its seed rows may not give, beside what chance makes of it.",
    )

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        if shares is not None and abs(sum(shares.values()) - 1) > SLACK_OF_SHARES:
            found = f"{sum(shares.values()):.4g}"
            raise PydanticCustomError("shares", "shares that sum to 1, and these sum to {found}", {"found": found})
        return shares


Scheme = Annotated[Lamini | Evol | Orca, Field(discriminator="method")]


class Filter(Block):
    """Cheap rules, then a judge; the block has the name of the scheme that it filters."""

    judge: Name
    prompts: Path
    sampling: Sampling
    attempts: int = Field(ge=1, description="Times that an unreadable verdict is asked at most.")
    refusal_phrases: list[str] = Field(description="Texts that no response may say, but for a quotation.")
    drop_refusals: bool = Field(
        True,
        description="Whether a response that opens as refusals do is dropped; false for data that is to have some.",
    )
    leaked_markers: list[str]
    most_repetition: Share = Field(description="Share of repeated word triples, or of characters in a loop, at most.")
    avoid: list[Name] = Field(description="Sources of evaluation items that no row may repeat.")
    most_failed: Share = Field(description="Share of judged rows without a readable verdict that a job bears.")
    max_dropped_share: Share = Field(
        0.95, description="Share of a shard's rows that rules and judge may reject; of 20 rows or more."
    )
    quota: int | None = Field(
        ge=1,
        description="Rows to accept over all shards, exactly, each shard its own part: then its judging ends. Null "
        "takes all that are good.",
    )


class Part(Block):
    """One ingredient of a mix: the kept rows of a scheme, or a source."""

    kind: Literal["scheme", "source"]
    name: Name
    rows: int | None = Field(ge=1, description="Rows drawn without replacement; null takes all.")


class Limit(Block):
    """Lengths in tokens of a model's tokenizer."""

    tokenizer: Name = Field(description="Model whose tokenizer counts.")
    total: int = Field(ge=8, description="Prompt and longest response together; a longer row is cut.")
    prompt: int = Field(
        ge=4, description="What is then kept of the prompt: the template whole, the instruction from its end."
    )


class Mix(Block):
    """A training set in one of TRL's column formats."""

    format: Literal["prompt_completion", "preference"]
    parts: list[Part] = Field(min_length=1)
    eval_rows: int = Field(
        ge=1,
        description="Rows set aside, whole families together, of which no stage before trained on any.",
    )
    limit: Limit | None
    max_missing_share: Share = Field(
        0.75, description="Share of `rows` and `eval_rows` that may be missing; of 1, a part may be without any row."
    )
    max_dropped_share: Share = Field(
        0.5, description="Share of a part's rows that may be duplicates, or lack a response, or a text after the cut."
    )
