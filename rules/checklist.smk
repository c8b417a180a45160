"""Checklists, and a judge's checks of answers by them.

in:   data/answers/<answers>/<checkpoint>/answers.jsonl, data/controls/<eval>/<control>/answers.jsonl
out:  data/checklists/<eval>/items.jsonl                  items for every turn of every question
      data/checks/<eval>/<model>/checks.jsonl             a judge's probability that an answer meets each item
      results/<eval>.json                                 every score with its uncertainty
      results/metrics/<eval>/<checkpoint>.json            averages, for `dvc metrics`
"""


rule checklists:
    input:
        script=installed.find("scripts/evaluate/checklists.py"),
        questions=lambda w: rows_of(recipe.questions_of(w.checklist)),
        prompts=lambda w: recipe.evals[w.checklist].prompts,
        author=lambda w: weights_of(recipe.evals[w.checklist].author),
    output:
        checklist="data/checklists/{checklist}/items.jsonl",
    log:
        "logs/checklists/{checklist}.log",
    benchmark:
        "logs/checklists/{checklist}.benchmark.tsv"
    threads: cores_of("checklists", "checklist")
    resources:
        **resources_of("checklists", "checklist"),
    params:
        names=asking_names(Authoring, "checklists", "checklist"),
        values=values_of(asking_names(Authoring, "checklists", "checklist")),
    shell:
        r"""
        bezoar exec {output.checklist:q} -- \
            python {input.script:q} --params {params.names:q} \
            --questions {input.questions:q} --prompts {input.prompts:q} --author {input.author:q} \
            --out data/checklists/{wildcards.checklist} --log {log:q}
        """


rule checks:
    input:
        script=installed.find("scripts/evaluate/checks.py"),
        answers=lambda w: answers_of(w.checklist, w.model),
        questions=lambda w: rows_of(recipe.questions_of(w.checklist)),
        checklist="data/checklists/{checklist}/items.jsonl",
        prompts=lambda w: recipe.evals[w.checklist].prompts,
        judge=lambda w: weights_of(recipe.evals[w.checklist].judge),
        gate=lambda w: graded_gate_of(w.checklist, w.model),
    output:
        checks="data/checks/{checklist}/{model}/checks.jsonl",
    log:
        "logs/checks/{checklist}/{model}.log",
    benchmark:
        "logs/checks/{checklist}/{model}.benchmark.tsv"
    threads: cores_of("checks", "checklist", "model")
    resources:
        **resources_of("checks", "checklist", "model"),
    params:
        names=asking_names(Checking, "checks", "checklist"),
        values=values_of(asking_names(Checking, "checks", "checklist")),
    shell:
        r"""
        bezoar exec {output.checks:q} -- \
            python {input.script:q} --params {params.names:q} \
            --answers {input.answers:q} --questions {input.questions:q} --items {input.checklist:q} \
            --prompts {input.prompts:q} --judge {input.judge:q} --gate {input.gate:q} \
            --out data/checks/{wildcards.checklist}/{wildcards.model} --log {log:q}
        """


rule report_checklist:
    input:
        script=installed.find("scripts/report/checklist.py"),
        checks=lambda w: grades_of(w.checklist, recipe.evals[w.checklist].judged()),
        questions=lambda w: rows_of(recipe.questions_of(w.checklist)),
        checklist="data/checklists/{checklist}/items.jsonl",
        prompts=lambda w: recipe.evals[w.checklist].prompts,
        certificates=lambda w: [pair.partition("=")[2] for pair in certificates_of(w.checklist)],
    output:
        report=report(
            "results/{checklist}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{checklist}"},
        ),
        metrics=directory("results/metrics/{checklist}"),
    log:
        "logs/report/{checklist}.log",
    threads: cores_of("report_checklist", "checklist")
    resources:
        **resources_of("report_checklist", "checklist"),
    params:
        certificates=lambda w: certificates_of(w.checklist),
        values=values_of(lambda w: [f"evals.{w.checklist}", "seed", *chain_names(w.checklist)]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params evals.{wildcards.checklist} seed \
            --results data/checks/{wildcards.checklist} --questions {input.questions:q} \
            --items {input.checklist:q} --prompts {input.prompts:q} \
            --certificates {params.certificates:q} --out {output.report:q} --log {log:q}
        """
