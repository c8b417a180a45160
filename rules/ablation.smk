"""What the levels of a matrix change.

in:   results/<eval>.json                the report of the matrix's evaluation, and its scores of single items
out:  results/<matrix>.json              the paired difference of each level to the recipe's own values
      results/metrics/<matrix>/<stage>-<level>.json  the differences, for `dvc metrics`
"""


rule ablation:
    input:
        script=installed.find("scripts/report/ablation.py"),
        report=lambda w: f"results/{recipe.matrix[w.matrix].eval}.json",
        scores=scored_items,
    output:
        report=report(
            "results/{matrix}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{matrix}"},
        ),
        metrics=directory("results/metrics/{matrix}"),
    log:
        "logs/report/{matrix}.log",
    wildcard_constraints:
        matrix=one_of(recipe.matrix),
    threads: cores_of("ablation", "matrix")
    resources:
        **resources_of("ablation", "matrix"),
    params:
        values=values_of(lambda w: [f"matrix.{w.matrix}", "seed"]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params matrix.{wildcards.matrix} seed \
            --report {input.report:q} --scores {input.scores:q} --out {output.report:q} --log {log:q}
        """
