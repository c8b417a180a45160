"""The JSON Schema of each file in results/: `make format` writes them to schemas/, and a test compares them."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from bezoar.files import whole
from bezoar.steps.results.any import REPORTS
from bezoar.steps.results.report import Score
from bezoar.steps.results.summary import COLUMNS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Averages(BaseModel):
    """results/metrics/<evaluation>/<checkpoint>.json: what DVC shows; empty if there is no score."""

    model_config = ConfigDict(extra="forbid")

    average: float = Field(0.0, description="Of the evaluation's main scores.")
    low: float = Field(0.0, description="The lower end of its 95 % interval, if something bounds it.")
    high: float = Field(0.0, description="The upper end, if something bounds it.")


def forms() -> dict[str, type[BaseModel]]:
    """By name of the schema: the model of a report, of a line of the summary, and of a file of averages."""
    line: Any = {name: (Score.__annotations__[name], ...) for name in COLUMNS}
    about = ConfigDict(extra="forbid")
    summary = create_model("SummaryLine", __config__=about, __doc__="A line of results/summary.csv.", **line)
    return {**{one.method: one for one in REPORTS}, "summary": summary, "metrics": Averages}


def texts() -> dict[str, str]:
    """The content of each file in schemas/."""
    found = {name: {"$schema": DIALECT, **form.model_json_schema()} for name, form in forms().items()}
    return {f"{name}.schema.json": json.dumps(one, indent=1, ensure_ascii=False) + "\n" for name, one in found.items()}


if __name__ == "__main__":
    for name, content in texts().items():
        with whole(Path(sys.argv[1], name)) as partial:
            partial.write_text(content, encoding="utf-8")
