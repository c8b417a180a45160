"""OpenBezoar's recipe, from seed rows to scored checkpoints.

source -> seed -> generated -> filtered -> mixes -> adapters -> checkpoints -> evals -> results
                      ^ teacher                        ^ next stage ---+
"""

from snakemake.utils import min_version

min_version("9.0")


# Only with --software-deployment-method apptainer: the image brings Python, .venv brings the packages.
container: "docker://python:3.11"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/pairwise.smk"
include: "rules/graded.smk"
include: "rules/checklist.smk"
include: "rules/rubric.smk"
include: "rules/ablation.smk"
include: "rules/page.smk"


rule all:
    default_target: True
    input:
        expand("results/{eval}.json", eval=recipe.evals),
        expand("results/{matrix}.json", matrix=recipe.matrix),
        ["results/summary.csv"] if recipe.evals else [],
        loose_ends(),
        ["results/report.html"] if page_files() else [],
