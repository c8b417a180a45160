"""DPO with token-level guidance (Zhu et al. 2025, arXiv:2506.14574): a trained model says which tokens matter."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bezoar.blocks import Name, Reference
from bezoar.steps.train.pair import ScoredPairBlock
from bezoar.steps.train.stage import Paths

GuideName = Annotated[Name, Reference(("models", "stages"), "no such checkpoint")]


class Tgdpo(ScoredPairBlock):
    """DPO whose pull towards the reference differs by token, as a guide rewards it."""

    reference: ClassVar[bool] = True

    method: Literal["tgdpo"]
    guide: GuideName = Field(
        description="Stage or base model that rewards tokens, trained by a preference method from the checkpoint that "
        "this stage starts from; it costs a forward pass and its weights' memory."
    )
    learning_rate: float = Field(
        7e-7, gt=0, description="Peak. Default: Zhu et al. 2025's code, for all weights of an 8B model."
    )
    beta: float = Field(0.1, gt=0, description="Pull towards the reference model, per nat. Default: Zhu et al. 2025.")
    alpha: float = Field(0.5, gt=0, description="How much a token's reward counts. Default: Zhu et al. 2025's code.")

    @model_validator(mode="after")
    def _guided(self) -> Self:
        """Refuse what has no room for a guide."""
        if self.distributed == "fsdp2":
            raise PydanticCustomError("guide", "distributed: ddp with method tgdpo, whose guide isn't shared")
        if self.guide == self.init_from:
            raise PydanticCustomError("guide", "a guide other than init_from: it rewards no token")
        return self

    def checkpoints(self) -> dict[str, str]:
        """By key, the base models and stages that it is trained from."""
        return {**super().checkpoints(), "guide": self.guide}


def trainer_of(paths: Paths, stage: Tgdpo, seed: int) -> Any:
    """The trainer for a stage."""
    from functools import partial

    from bezoar.steps.train import pairs, preference

    return pairs.trainer(paths, stage, seed, partial(preference.tgdpo, beta=stage.beta, alpha=stage.alpha))
