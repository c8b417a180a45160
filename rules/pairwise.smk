"""Answers of checkpoints against a baseline's, in pairs.

in:   data/answers/<answers>/<checkpoint>/answers.jsonl     answers of checkpoints; one of them is the baseline
out:  data/comparisons/<eval>/<model>/verdicts.jsonl        a judge's verdicts on both games of each turn, and
                                                            judgments.jsonl; <model> is a checkpoint or a control
      data/gates/<eval>.json                                whether the judge passes the controls
      results/<eval>.json                                   win rates with their uncertainty
      results/metrics/<eval>/<checkpoint>.json              averages, for `dvc metrics`
"""


wildcard_constraints:
    pairwise=one_of(evals_of("pairwise")),


rule comparisons:
    input:
        script=installed.find("scripts/evaluate/comparisons.py"),
        answers=lambda w: [] if w.model.startswith(CONTROL) else answers_of(w.pairwise, w.model),
        baseline=lambda w: answers_of(w.pairwise, recipe.evals[w.pairwise].baseline),
        questions=lambda w: rows_of(recipe.questions_of(w.pairwise)),
        references=pairwise_references,
        judge_prompts=lambda w: rows_of(recipe.evals[w.pairwise].judge_prompts),
        judge=lambda w: weights_of(recipe.evals[w.pairwise].judge),
        gate=pairwise_gate,
    output:
        judgments="data/comparisons/{pairwise}/{model}/judgments.jsonl",
        verdicts="data/comparisons/{pairwise}/{model}/verdicts.jsonl",
    log:
        "logs/comparisons/{pairwise}/{model}.log",
    benchmark:
        "logs/comparisons/{pairwise}/{model}.benchmark.tsv"
    threads: cores_of("comparisons", "pairwise", "model")
    resources:
        **resources_of("comparisons", "pairwise", "model"),
    params:
        names=comparison_names,
        values=values_of(comparison_names),
    shell:
        r"""
        bezoar exec {output.judgments:q} -- \
            python {input.script:q} --params {params.names:q} \
            --answers {input.answers:q} --baseline {input.baseline:q} --questions {input.questions:q} \
            --references {input.references:q} --judge-prompts {input.judge_prompts:q} \
            --judge {input.judge:q} --gate {input.gate:q} \
            --out data/comparisons/{wildcards.pairwise}/{wildcards.model} --log {log:q}
        """


rule gate_pairwise:
    input:
        script=installed.find("scripts/evaluate/gate_pairwise.py"),
        verdicts=lambda w: expand(
            "data/comparisons/{eval}/{control}/verdicts.jsonl",
            eval=w.pairwise,
            control=recipe.evals[w.pairwise].control_names(),
        ),
        questions=lambda w: rows_of(recipe.questions_of(w.pairwise)),
    output:
        gate="data/gates/{pairwise}.json",
    log:
        "logs/gate/{pairwise}.log",
    threads: cores_of("gate_pairwise", "pairwise")
    resources:
        **resources_of("gate_pairwise", "pairwise"),
    params:
        values=values_of(lambda w: [f"evals.{w.pairwise}.allow_compromised", "seed"]),
    shell:
        r"""
        bezoar exec {output.gate:q} -- \
            python {input.script:q} --params evals.{wildcards.pairwise}.allow_compromised seed \
            --verdicts {input.verdicts:q} --questions {input.questions:q} --out {output.gate:q} --log {log:q}
        """


rule report_pairwise:
    input:
        script=installed.find("scripts/report/pairwise.py"),
        verdicts=lambda w: expand(
            "data/comparisons/{eval}/{model}/verdicts.jsonl",
            eval=w.pairwise,
            model=recipe.evals[w.pairwise].judged(),
        ),
        questions=lambda w: rows_of(recipe.questions_of(w.pairwise)),
        references=pairwise_references,
        judge_prompts=lambda w: rows_of(recipe.evals[w.pairwise].judge_prompts),
        certificates=lambda w: [pair.partition("=")[2] for pair in certificates_of(w.pairwise)],
    output:
        report=report(
            "results/{pairwise}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{pairwise}"},
        ),
        metrics=directory("results/metrics/{pairwise}"),
    log:
        "logs/report/{pairwise}.log",
    threads: cores_of("report_pairwise", "pairwise")
    resources:
        **resources_of("report_pairwise", "pairwise"),
    params:
        certificates=lambda w: certificates_of(w.pairwise),
        values=values_of(lambda w: [f"evals.{w.pairwise}", "seed", *chain_names(w.pairwise)]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params evals.{wildcards.pairwise} seed \
            --results data/comparisons/{wildcards.pairwise} --questions {input.questions:q} \
            --references {input.references:q} --judge-prompts {input.judge_prompts:q} \
            --certificates {params.certificates:q} --out {output.report:q} --log {log:q}
        """
