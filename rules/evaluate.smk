"""Scores of checkpoints.

in:   data/base/<model>/, data/checkpoints/<stage>/       checkpoints to score
      data/mixes/<mix>/eval.jsonl                         held-out answers
out:  data/tasks/<eval>/<task>/settings.json              how a task is asked, and its data from the hub in data.zip
      data/targets/<eval>/<task>.jsonl                    what evaluations ask: rows of mixes are compared with it
      data/harness/<eval>/<checkpoint>/<task>/result.json lm-evaluation-harness's own results; scores of each
                                                          document in items.jsonl, prompts and responses in
                                                          samples.parquet
      data/likelihood/<eval>/<checkpoint>/scores.jsonl    log-likelihood of held-out answers
      data/answers/<answers>/<checkpoint>/answers.jsonl   answers of checkpoints, and turns.jsonl: how each ended
      data/controls/<eval>/<control>/answers.jsonl        answers that no model wrote
      data/judgments/<eval>/<model>/judgments.jsonl       a judge's ratings, and verdicts.jsonl
      data/gates/<eval>.json                              whether the judge passes the controls
      results/<eval>.json                                 every score with its uncertainty
      results/metrics/<eval>/<checkpoint>.json            averages, for `dvc metrics`
      results/summary.csv                                 a line for each score of all evaluations
"""

TASK = ["data/tasks/{harness}/{task}/settings.json", "data/tasks/{harness}/{task}/data.zip"]


rule harness_tasks:
    input:
        script=installed.find("scripts/evaluate/harness_tasks.py"),
        data=lambda w: [rows_of(name) for name in recipe.evals[w.harness].data],
        tasks=task_files,
    output:
        settings=TASK[0],
        data=TASK[1],
    log:
        "logs/tasks/{harness}/{task}.log",
    priority: 1  # before scores, so that tasks of a checkpoint can share its process
    threads: cores_of("harness_tasks", "harness")
    resources:
        **resources_of("harness_tasks", "harness"),
    params:
        names=task_names,
        values=values_of(task_names),
    shell:
        r"""
        bezoar exec {output.settings:q} -- \
            python {input.script:q} --params {params.names:q} \
            --out data/tasks/{wildcards.harness}/{wildcards.task} --log {log:q}
        """


rule harness:
    input:
        script=lambda w: evaluator("harness", w),
        checkpoint=lambda w: checkpoint(w.checkpoint),
        task=TASK,
        data=lambda w: [rows_of(name) for name in recipe.evals[w.harness].data],
        tasks=task_files,
    output:
        result="data/harness/{harness}/{checkpoint}/{task}/result.json",
        by_item="data/harness/{harness}/{checkpoint}/{task}/items.jsonl",
        samples="data/harness/{harness}/{checkpoint}/{task}/samples.parquet",
    log:
        "logs/harness/{harness}/{checkpoint}/{task}.log",
    benchmark:
        "logs/harness/{harness}/{checkpoint}/{task}.benchmark.tsv"
    threads: cores_of("harness", "harness", "checkpoint")
    resources:
        **resources_of("harness", "harness", "checkpoint"),
    params:
        names=harness_names,
        values=values_of(harness_names),
    shell:
        r"""
        bezoar exec {output.result:q} -- \
            python {input.script:q} --params {params.names:q} \
            --checkpoint {input.checkpoint:q} --task data/tasks/{wildcards.harness}/{wildcards.task} \
            --out data/harness/{wildcards.harness}/{wildcards.checkpoint}/{wildcards.task} --log {log:q}
        """


rule harness_targets:
    input:
        script=installed.find("scripts/evaluate/harness_targets.py"),
        task=TASK,
        data=lambda w: [rows_of(name) for name in recipe.evals[w.harness].data],
        tasks=task_files,
    output:
        targets="data/targets/{harness}/{task}.jsonl",
    log:
        "logs/targets/{harness}/{task}.log",
    threads: cores_of("harness_targets", "harness")
    resources:
        **resources_of("harness_targets", "harness"),
    params:
        names=target_names,
        values=values_of(target_names),
    shell:
        r"""
        bezoar exec {output.targets:q} -- \
            python {input.script:q} --params {params.names:q} \
            --task data/tasks/{wildcards.harness}/{wildcards.task} --out {output.targets:q} --log {log:q}
        """


rule question_targets:
    input:
        script=installed.find("scripts/evaluate/question_targets.py"),
        questions=lambda w: rows_of(recipe.questions_of(w.asked)),
    output:
        targets="data/targets/{asked}/questions.jsonl",
    log:
        "logs/targets/{asked}/questions.log",
    threads: cores_of("question_targets", "asked")
    resources:
        **resources_of("question_targets", "asked"),
    params:
        values=values_of(lambda w: []),
    shell:
        r"""
        bezoar exec {output.targets:q} -- \
            python {input.script:q} --questions {input.questions:q} --out {output.targets:q} --log {log:q}
        """


rule report_harness:
    input:
        script=installed.find("scripts/report/harness.py"),
        results=lambda w: expand(
            "data/harness/{eval}/{checkpoint}/{task}/result.json",
            eval=w.harness,
            checkpoint=recipe.evals[w.harness].checkpoints,
            task=recipe.evals[w.harness].tasks,
        ),
        by_item=lambda w: expand(
            "data/harness/{eval}/{checkpoint}/{task}/items.jsonl",
            eval=w.harness,
            checkpoint=recipe.evals[w.harness].checkpoints,
            task=recipe.evals[w.harness].tasks,
        ),
        settings=lambda w: expand(TASK[0], harness=w.harness, task=recipe.evals[w.harness].tasks),
        certificates=lambda w: [pair.partition("=")[2] for pair in certificates_of(w.harness)],
    output:
        report=report(
            "results/{harness}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{harness}"},
        ),
        metrics=directory("results/metrics/{harness}"),
    log:
        "logs/report/{harness}.log",
    threads: cores_of("report_harness", "harness")
    resources:
        **resources_of("report_harness", "harness"),
    params:
        certificates=lambda w: certificates_of(w.harness),
        values=values_of(lambda w: [f"evals.{w.harness}", "seed", *chain_names(w.harness)]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params evals.{wildcards.harness} seed \
            --results data/harness/{wildcards.harness} --tasks data/tasks/{wildcards.harness} \
            --certificates {params.certificates:q} --out {output.report:q} --log {log:q}
        """


rule likelihood:
    input:
        script=installed.find("scripts/evaluate/likelihood.py"),
        checkpoint=lambda w: checkpoint(w.checkpoint),
        rows=lambda w: expand("data/mixes/{mix}/eval.jsonl", mix=recipe.evals[w.likelihood].mixes),
        trained=trained_rows,
    output:
        scores="data/likelihood/{likelihood}/{checkpoint}/scores.jsonl",
    log:
        "logs/likelihood/{likelihood}/{checkpoint}.log",
    benchmark:
        "logs/likelihood/{likelihood}/{checkpoint}.benchmark.tsv"
    threads: cores_of("likelihood", "likelihood", "checkpoint")
    resources:
        **resources_of("likelihood", "likelihood", "checkpoint"),
    params:
        names=keys_of(Scored, "evals", "likelihood"),
        values=values_of(keys_of(Scored, "evals", "likelihood")),
    shell:
        r"""
        bezoar exec {output.scores:q} -- \
            python {input.script:q} --params {params.names:q} \
            --checkpoint {input.checkpoint:q} --rows {input.rows:q} --trained {input.trained:q} \
            --out data/likelihood/{wildcards.likelihood}/{wildcards.checkpoint} --log {log:q}
        """


rule report_likelihood:
    input:
        script=installed.find("scripts/report/likelihood.py"),
        scores=lambda w: expand(
            "data/likelihood/{eval}/{checkpoint}/scores.jsonl",
            eval=w.likelihood,
            checkpoint=recipe.evals[w.likelihood].checkpoints,
        ),
    output:
        report=report(
            "results/{likelihood}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{likelihood}"},
        ),
        metrics=directory("results/metrics/{likelihood}"),
    log:
        "logs/report/{likelihood}.log",
    threads: cores_of("report_likelihood", "likelihood")
    resources:
        **resources_of("report_likelihood", "likelihood"),
    params:
        values=values_of(lambda w: [f"evals.{w.likelihood}", "seed"]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params evals.{wildcards.likelihood} seed \
            --scores {input.scores:q} --out {output.report:q} --log {log:q}
        """


rule answers:
    input:
        script=lambda w: evaluator("answers", w),
        checkpoint=lambda w: checkpoint(w.checkpoint),
        questions=lambda w: rows_of(recipe.answers[w.answers].questions),
    output:
        answers="data/answers/{answers}/{checkpoint}/answers.jsonl",
        turns="data/answers/{answers}/{checkpoint}/turns.jsonl",
    log:
        "logs/answers/{answers}/{checkpoint}.log",
    benchmark:
        "logs/answers/{answers}/{checkpoint}.benchmark.tsv"
    threads: cores_of("answers", "answers", "checkpoint")
    resources:
        **resources_of("answers", "answers", "checkpoint"),
    params:
        names=answer_names,
        values=values_of(answer_names),
    shell:
        r"""
        bezoar exec {output.answers:q} -- \
            python {input.script:q} --params {params.names:q} \
            --questions {input.questions:q} --checkpoint {input.checkpoint:q} \
            --out data/answers/{wildcards.answers}/{wildcards.checkpoint} --log {log:q}
        """


rule report_answers:
    input:
        script=installed.find("scripts/report/answers.py"),
        answers=lambda w: expand(
            "data/answers/{answers}/{checkpoint}/{file}.jsonl",
            answers=recipe.evals[w.side_by_side].answers,
            checkpoint=recipe.evals[w.side_by_side].checkpoints,
            file=["answers", "turns"],
        ),
        questions=lambda w: rows_of(recipe.questions_of(w.side_by_side)),
    output:
        report=report(
            "results/{side_by_side}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{side_by_side}"},
        ),
    log:
        "logs/report/{side_by_side}.log",
    threads: cores_of("report_answers", "side_by_side")
    resources:
        **resources_of("report_answers", "side_by_side"),
    params:
        folder=lambda w: f"data/answers/{recipe.evals[w.side_by_side].answers}",
        values=values_of(lambda w: [f"evals.{w.side_by_side}"]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params evals.{wildcards.side_by_side} \
            --results {params.folder:q} --questions {input.questions:q} \
            --out {output.report:q} --log {log:q}
        """


rule controls:
    input:
        script=installed.find("scripts/evaluate/controls.py"),
        questions=lambda w: rows_of(recipe.questions_of(w.mtbench)),
        answers=shuffled_answers,
        judge_prompts=source_for("judge_prompts"),
    output:
        answers="data/controls/{mtbench}/{control}/answers.jsonl",
    log:
        "logs/controls/{mtbench}/{control}.log",
    threads: cores_of("controls", "mtbench", "control")
    resources:
        **resources_of("controls", "mtbench", "control"),
    params:
        values=values_of(lambda w: ["seed"]),
    shell:
        r"""
        bezoar exec {output.answers:q} -- \
            python {input.script:q} --params seed \
            --questions {input.questions:q} --answers {input.answers:q} --judge-prompts {input.judge_prompts:q} \
            --out data/controls/{wildcards.mtbench}/{wildcards.control} --log {log:q}
        """


rule judgments:
    input:
        script=installed.find("scripts/evaluate/judgments.py"),
        answers=lambda w: answers_of(w.mtbench, w.model),
        questions=lambda w: rows_of(recipe.questions_of(w.mtbench)),
        references=source_for("references"),
        judge_prompts=source_for("judge_prompts"),
        judge=lambda w: weights_of(recipe.evals[w.mtbench].judge),
        gate=gate_of,
    output:
        judgments="data/judgments/{mtbench}/{model}/judgments.jsonl",
        verdicts="data/judgments/{mtbench}/{model}/verdicts.jsonl",
    log:
        "logs/judgments/{mtbench}/{model}.log",
    benchmark:
        "logs/judgments/{mtbench}/{model}.benchmark.tsv"
    threads: cores_of("judgments", "mtbench", "model")
    resources:
        **resources_of("judgments", "mtbench", "model"),
    params:
        names=judgment_names,
        values=values_of(judgment_names),
    shell:
        r"""
        bezoar exec {output.judgments:q} -- \
            python {input.script:q} --params {params.names:q} \
            --answers {input.answers:q} --questions {input.questions:q} --references {input.references:q} \
            --judge-prompts {input.judge_prompts:q} --judge {input.judge:q} --gate {input.gate:q} \
            --out data/judgments/{wildcards.mtbench}/{wildcards.model} --log {log:q}
        """


rule gate:
    input:
        script=installed.find("scripts/evaluate/gate.py"),
        verdicts=lambda w: expand(
            "data/judgments/{eval}/{control}/verdicts.jsonl", eval=w.mtbench, control=controls_of(w.mtbench)
        ),
        questions=lambda w: rows_of(recipe.questions_of(w.mtbench)),
    output:
        gate="data/gates/{mtbench}.json",
    log:
        "logs/gate/{mtbench}.log",
    threads: cores_of("gate", "mtbench")
    resources:
        **resources_of("gate", "mtbench"),
    params:
        values=values_of(lambda w: [f"evals.{w.mtbench}.allow_compromised", "seed"]),
    shell:
        r"""
        bezoar exec {output.gate:q} -- \
            python {input.script:q} --params evals.{wildcards.mtbench}.allow_compromised seed \
            --verdicts {input.verdicts:q} --questions {input.questions:q} --out {output.gate:q} --log {log:q}
        """


rule report_mtbench:
    input:
        script=installed.find("scripts/report/mtbench.py"),
        verdicts=lambda w: expand(
            "data/judgments/{eval}/{model}/verdicts.jsonl", eval=w.mtbench, model=recipe.evals[w.mtbench].judged()
        ),
        questions=lambda w: rows_of(recipe.questions_of(w.mtbench)),
        references=source_for("references"),
        judge_prompts=source_for("judge_prompts"),
        certificates=lambda w: [pair.partition("=")[2] for pair in certificates_of(w.mtbench)],
    output:
        report=report(
            "results/{mtbench}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{mtbench}"},
        ),
        metrics=directory("results/metrics/{mtbench}"),
    log:
        "logs/report/{mtbench}.log",
    threads: cores_of("report_mtbench", "mtbench")
    resources:
        **resources_of("report_mtbench", "mtbench"),
    params:
        certificates=lambda w: certificates_of(w.mtbench),
        values=values_of(lambda w: [f"evals.{w.mtbench}", "seed", *chain_names(w.mtbench)]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params evals.{wildcards.mtbench} seed \
            --results data/judgments/{wildcards.mtbench} --questions {input.questions:q} \
            --references {input.references:q} --judge-prompts {input.judge_prompts:q} \
            --certificates {params.certificates:q} --out {output.report:q} --log {log:q}
        """


rule summary:
    input:
        script=installed.find("scripts/report/summary.py"),
        reports=expand("results/{eval}.json", eval=recipe.evals),
    output:
        summary=report(
            "results/summary.csv",
            caption="captions/summary.rst",
            category="Scores",
            labels={"evaluation": "all"},
        ),
    log:
        "logs/report/summary.log",
    threads: cores_of("summary")
    resources:
        **resources_of("summary"),
    params:
        values={},
    shell:
        r"""
        bezoar exec {output.summary:q} -- \
            python {input.script:q} --reports {input.reports:q} --out {output.summary:q} --log {log:q}
        """


rule report_agreement:
    input:
        script=installed.find("scripts/report/agreement.py"),
        grades=lambda w: [
            path
            for name in recipe.evals[w.agreement].evals
            for path in grades_of(name, recipe.evals[w.agreement].checkpoints)
        ],
        reports=lambda w: expand("results/{eval}.json", eval=recipe.evals[w.agreement].evals),
        questions=lambda w: rows_of(recipe.questions_of(recipe.evals[w.agreement].evals[0])),
    output:
        report=report(
            "results/{agreement}.json",
            caption="captions/scores.rst",
            category="Scores",
            labels={"evaluation": "{agreement}"},
        ),
    log:
        "logs/report/{agreement}.log",
    threads: cores_of("report_agreement", "agreement")
    resources:
        **resources_of("report_agreement", "agreement"),
    params:
        values=values_of(lambda w: [f"evals.{w.agreement}", "seed"]),
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --params evals.{wildcards.agreement} seed \
            --grades {input.grades:q} --reports {input.reports:q} --questions {input.questions:q} \
            --out {output.report:q} --log {log:q}
        """
