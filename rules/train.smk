"""Checkpoints from base models and mixes; a stage may start from an earlier one.

in:   data/certified/<mix>/      rows to train on, and held-out rows
      data/clearances/<mix>.json only if rows may be trained on
out:  data/base/<model>/         weights as published, or pretrained here
      data/adapters/<stage>/     what was trained: LoRA weights only, or with `tuning: full` all weights
      data/checkpoints/<stage>/  full weights: the adapter merged into its base weights
"""


rule base:
    input:
        script=lambda w: installed.find(f"scripts/base/{recipe.models[w.model].method}.py"),
        source=model_source,
        template=lambda w: recipe.models[w.model].templates(),
    output:
        model=directory("data/base/{model}"),
    log:
        "logs/base/{model}.log",
    benchmark:
        "logs/base/{model}.benchmark.tsv"
    threads: cores_of("base", "model")
    resources:
        **resources_of("base", "model"),
    params:
        values=values_of(lambda w: [f"models.{w.model}", "seed"]),
    shell:
        r"""
        bezoar exec {output.model:q} -- \
            python {input.script:q} --params models.{wildcards.model} seed \
            --source {input.source:q} --template {input.template:q} --out {output.model:q} --log {log:q}
        """


rule train:
    input:
        unpack(guide_of),
        script=lambda w: installed.find(f"scripts/train/{recipe.stages[w.stage].method}.py"),
        base=base_of,
        adapter=adapter_before,
        train=certified("train"),
        eval=certified("eval"),
        clearance=lambda w: f"data/clearances/{recipe.stages[w.stage].mix}.json",
    output:
        adapter=directory("data/adapters/{stage}"),
    log:
        "logs/train/{stage}.log",
    benchmark:
        "logs/train/{stage}.benchmark.tsv"
    threads: cores_of("train", "stage")
    resources:
        **resources_of("train", "stage"),
    params:
        mix=lambda w: recipe.stages[w.stage].mix,
        guide=lambda w, input: ["--guide", input.guide] if "guide" in input.keys() else [],
        values=values_of(lambda w: [f"stages.{w.stage}", "seed"]),
    shell:
        r"""
        bezoar exec {output.adapter:q} -- \
            python {input.script:q} --params stages.{wildcards.stage} seed \
            --base {input.base:q} --adapter {input.adapter:q} {params.guide:q} --mix data/certified/{params.mix} \
            --work scratch/train/{wildcards.stage} --out {output.adapter:q} --gpus {resources.gpu} --log {log:q}
        """


rule merge:
    input:
        script=installed.find("scripts/train/merge.py"),
        base=base_of,
        adapter="data/adapters/{stage}",
    output:
        checkpoint=directory("data/checkpoints/{stage}"),
    log:
        "logs/merge/{stage}.log",
    benchmark:
        "logs/merge/{stage}.benchmark.tsv"
    threads: cores_of("merge", "stage")
    resources:
        **resources_of("merge", "stage"),
    params:
        names=keys_of(Merging, "stages", "stage"),
        values=values_of(keys_of(Merging, "stages", "stage")),
    shell:
        r"""
        bezoar exec {output.checkpoint:q} -- \
            python {input.script:q} --params {params.names:q} \
            --base {input.base:q} --adapter {input.adapter:q} --out {output.checkpoint:q} --log {log:q}
        """
