"""Controls of the methods that grade every answer by itself, and the gate of their judges.

in:   data/answers/<answers>/<checkpoint>/answers.jsonl   for the control `shuffled`
out:  data/controls/<eval>/<control>/answers.jsonl        answers that no model wrote
      data/gates/<eval>.json                              whether the judge passes the controls
"""


rule null_answers:
    input:
        script=installed.find("scripts/evaluate/null_answers.py"),
        questions=lambda w: rows_of(recipe.questions_of(w.graded)),
        answers=null_source,
        prompts=lambda w: recipe.evals[w.graded].prompts,
    output:
        answers="data/controls/{graded}/{control}/answers.jsonl",
    log:
        "logs/null_answers/{graded}/{control}.log",
    threads: cores_of("null_answers", "graded", "control")
    resources:
        **resources_of("null_answers", "graded", "control"),
    params:
        values=values_of(lambda w: [f"evals.{w.graded}.method", "seed"]),
    shell:
        r"""
        bezoar exec {output.answers:q} -- \
            python {input.script:q} --params evals.{wildcards.graded}.method seed \
            --questions {input.questions:q} --answers {input.answers:q} --prompts {input.prompts:q} \
            --out data/controls/{wildcards.graded}/{wildcards.control} --log {log:q}
        """


rule graded_gate:
    input:
        script=installed.find("scripts/evaluate/graded_gate.py"),
        grades=lambda w: grades_of(w.graded, recipe.evals[w.graded].control_names()),
        questions=lambda w: rows_of(recipe.questions_of(w.graded)),
    output:
        gate="data/gates/{graded}.json",
    log:
        "logs/graded_gate/{graded}.log",
    threads: cores_of("graded_gate", "graded")
    resources:
        **resources_of("graded_gate", "graded"),
    params:
        values=values_of(lambda w: [f"evals.{w.graded}.{key}" for key in GradedGate.model_fields] + ["seed"]),
    shell:
        r"""
        bezoar exec {output.gate:q} -- \
            python {input.script:q} \
            --params evals.{wildcards.graded}.allow_compromised evals.{wildcards.graded}.method seed \
            --grades {input.grades:q} --questions {input.questions:q} --out {output.gate:q} --log {log:q}
        """
