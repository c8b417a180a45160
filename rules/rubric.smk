"""A judge's gradings of answers by a rubric.

in:   data/answers/<answers>/<checkpoint>/answers.jsonl, data/controls/<eval>/<control>/answers.jsonl
out:  data/gradings/<eval>/<model>/gradings.jsonl         a judge's scores, and feedback.jsonl: its texts
      results/<eval>.json                                 every score with its uncertainty
      results/metrics/<eval>/<checkpoint>.json            averages, for `dvc metrics`
"""


rule gradings:
    input:
        script=installed.find("scripts/evaluate/gradings.py"),
        answers=lambda w: answers_of(w.rubric, w.model),
        questions=lambda w: rows_of(recipe.questions_of(w.rubric)),
        references=rubric_references,
        prompts=lambda w: recipe.evals[w.rubric].prompts,
        rubric=lambda w: recipe.evals[w.rubric].rubric,
        judge=lambda w: weights_of(recipe.evals[w.rubric].judge),
        gate=lambda w: graded_gate_of(w.rubric, w.model),
    output:
        gradings="data/gradings/{rubric}/{model}/gradings.jsonl",
        feedback="data/gradings/{rubric}/{model}/feedback.jsonl",
    log:
        "logs/gradings/{rubric}/{model}.log",
    benchmark:
        "logs/gradings/{rubric}/{model}.benchmark.tsv"
    threads: cores_of("gradings", "rubric", "model")
    resources:
        **resources_of("gradings", "rubric", "model"),
    params:
        names=asking_names(Grading, "gradings", "rubric"),
        values=values_of(asking_names(Grading, "gradings", "rubric")),
    shell:
        r"""
        bezoar exec {output.gradings:q} -- \
            python {input.script:q} --params {params.names:q} \
            --answers {input.answers:q} --questions {input.questions:q} --references {input.references:q} \
            --prompts {input.prompts:q} --rubric {input.rubric:q} --judge {input.judge:q} --gate {input.gate:q} \
            --out data/gradings/{wildcards.rubric}/{wildcards.model} --log {log:q}
        """


rule report_rubric:
    input:
        script=installed.find("scripts/report/rubric.py"),
        gradings=lambda w: grades_of(w.rubric, recipe.evals[w.rubric].judged()),
        questions=lambda w: rows_of(recipe.questions_of(w.rubric)),
        references=rubric_references,
        prompts=lambda w: recipe.evals[w.rubric].prompts,
        rubric=lambda w: recipe.evals[w.rubric].rubric,
        certificates=lambda w: [pair.partition("=")[2] for pair in certificates_of(w.rubric)],
    output:
        report=report(
            "results/{rubric}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{rubric}"},
        ),
        metrics=directory("results/metrics/{rubric}"),
    log:
        "logs/report/{rubric}.log",
    threads: cores_of("report_rubric", "rubric")
    resources:
        **resources_of("report_rubric", "rubric"),
    params:
        certificates=lambda w: certificates_of(w.rubric),
        values=values_of(lambda w: [f"evals.{w.rubric}", "seed", *chain_names(w.rubric)]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params evals.{wildcards.rubric} seed \
            --results data/gradings/{wildcards.rubric} --questions {input.questions:q} \
            --prompts {input.prompts:q} --rubric {input.rubric:q} --references {input.references:q} \
            --certificates {params.certificates:q} --out {output.report:q} --log {log:q}
        """
