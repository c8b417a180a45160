"""Training sets from seed rows.

in:   params.yaml                                 where rows come from
out:  data/source/<source>/rows.jsonl             rows in our own types, validated; their places in places.jsonl
      data/skills/<scheme>/skills.jsonl           of a scheme that combines skills: their list, made once
      data/seed/<scheme>/<shard>.jsonl            a scheme's work, drawn from all rows, of which a new one changes few
      data/generated/<scheme>/<shard>/rows.jsonl  a teacher's rows, and dropped.jsonl
      data/filtered/<scheme>/<shard>/kept.jsonl   rows that pass rules and judge, and rejected.jsonl
      data/scored/<scores>/<shard>/rows.jsonl     rows of a scheme with scores, and dropped.jsonl
      data/pairs/<pairs>/<shard>/rows.jsonl       a better and a worse answer to each prompt, and dropped.jsonl
      data/selected/<selection>/rows.jsonl        the best of all shards of a scheme, or of a source, by some measure
      data/mixes/<mix>/train.jsonl                a stage's rows in TRL's columns, and eval.jsonl, which has no
                                                  row that an earlier stage trains on; where each row
                                                  is from in origins.jsonl
      data/certificates/<mix>.json                which evaluation items rows of a mix repeat
      data/certified/<mix>/train.jsonl            a mix without these rows, eval.jsonl, and dropped.jsonl
      data/clearances/<mix>.json                  of constant content; there is one only if a mix may be trained on
      data/datasets/<mix>/                        made on request: a mix as Parquet with its card, for the hub
"""


rule source:
    input:
        script=installed.find("scripts/data/source.py"),
        files=source_files,
    output:
        rows="data/source/{source}/rows.jsonl",
        places="data/source/{source}/places.jsonl",
        dropped="data/source/{source}/dropped.jsonl",
        report="data/source/{source}/report.json",
    log:
        "logs/source/{source}.log",
    benchmark:
        "logs/source/{source}.benchmark.tsv"
    threads: cores_of("source", "source")
    resources:
        **resources_of("source", "source"),
    params:
        values=values_of(lambda w: [f"sources.{w.source}", "seed"]),
    shell:
        r"""
        bezoar exec {output.rows:q} -- \
            python {input.script:q} --params sources.{wildcards.source} seed \
            --out data/source/{wildcards.source} --log {log:q}
        """


rule skills:
    input:
        script=installed.find("scripts/generate/skills.py"),
        rows=lambda w: rows_of(recipe.schemes[w.scheme].seeds),
        prompts=lambda w: recipe.schemes[w.scheme].prompts,
        teacher=lambda w: weights_of(recipe.schemes[w.scheme].teacher),
    output:
        skills="data/skills/{scheme}/skills.jsonl",
        dropped="data/skills/{scheme}/dropped.jsonl",
        report="data/skills/{scheme}/report.json",
    log:
        "logs/skills/{scheme}.log",
    benchmark:
        "logs/skills/{scheme}.benchmark.tsv"
    threads: cores_of("skills", "scheme")
    resources:
        **resources_of("skills", "scheme"),
    params:
        names=skill_names,
        values=values_of(skill_names),
    shell:
        r"""
        bezoar exec {output.skills:q} -- \
            python {input.script:q} --params {params.names:q} \
            --rows {input.rows:q} --prompts {input.prompts:q} --teacher {input.teacher:q} \
            --out data/skills/{wildcards.scheme} --log {log:q}
        """


rule shard:
    input:
        script=lambda w: installed.find(f"scripts/shard/{recipe.schemes[w.scheme].method}.py"),
        rows=shard_rows,
        topics=topics_of,
    output:
        shards=expand("data/seed/{{scheme}}/{shard}.jsonl", shard=SHARDS),
        report="data/seed/{scheme}/report.json",
    log:
        "logs/shard/{scheme}.log",
    threads: cores_of("shard", "scheme")
    resources:
        **resources_of("shard", "scheme"),
    params:
        names=shard_names,
        values=values_of(shard_names),
    shell:
        r"""
        bezoar exec {output.shards[0]:q} -- \
            python {input.script:q} --params {params.names:q} \
            --rows {input.rows:q} --topics {input.topics:q} --out data/seed/{wildcards.scheme} --log {log:q}
        """


rule generate:
    input:
        script=lambda w: installed.find(f"scripts/generate/{recipe.schemes[w.scheme].method}.py"),
        seeds="data/seed/{scheme}/{shard}.jsonl",
        prompts=lambda w: recipe.schemes[w.scheme].prompts or [],
        teacher=lambda w: weights_of(recipe.schemes[w.scheme].teacher),
        judge=second_model,
    output:
        rows="data/generated/{scheme}/{shard}/rows.jsonl",
        dropped="data/generated/{scheme}/{shard}/dropped.jsonl",
        report="data/generated/{scheme}/{shard}/report.json",
    log:
        "logs/generate/{scheme}/{shard}.log",
    benchmark:
        "logs/generate/{scheme}/{shard}.benchmark.tsv"
    threads: cores_of("generate", "scheme")
    resources:
        **resources_of("generate", "scheme"),
    params:
        names=generate_names,
        values=values_of(generate_names),
    shell:
        r"""
        bezoar exec {output.rows:q} -- \
            python {input.script:q} --params {params.names:q} \
            --seeds {input.seeds:q} --prompts {input.prompts:q} --teacher {input.teacher:q} \
            --judge {input.judge:q} --out data/generated/{wildcards.scheme}/{wildcards.shard} --log {log:q}
        """


rule filter:
    input:
        script=installed.find("scripts/filter/filter.py"),
        rows="data/generated/{scheme}/{shard}/rows.jsonl",
        prompts=lambda w: recipe.filters[w.scheme].prompts or [],
        judge=lambda w: weights_of(recipe.filters[w.scheme].judge),
    output:
        kept="data/filtered/{scheme}/{shard}/kept.jsonl",
        rejected="data/filtered/{scheme}/{shard}/rejected.jsonl",
        report="data/filtered/{scheme}/{shard}/report.json",
    log:
        "logs/filter/{scheme}/{shard}.log",
    benchmark:
        "logs/filter/{scheme}/{shard}.benchmark.tsv"
    wildcard_constraints:
        scheme=filtered_by("filter"),
    threads: cores_of("filter", "scheme")
    resources:
        **resources_of("filter", "scheme"),
    params:
        names=filter_names,
        values=values_of(filter_names),
    shell:
        r"""
        bezoar exec {output.kept:q} -- \
            python {input.script:q} --params {params.names:q} \
            --rows {input.rows:q} --prompts {input.prompts:q} --judge {input.judge:q} \
            --out data/filtered/{wildcards.scheme}/{wildcards.shard} --log {log:q}
        """


rule quota:
    input:
        script=installed.find("scripts/filter/quota.py"),
        rows=lambda w: expand("data/generated/{scheme}/{shard}/rows.jsonl", scheme=w.scheme, shard=SHARDS),
        prompts=lambda w: recipe.filters[w.scheme].prompts or [],
        judge=lambda w: weights_of(recipe.filters[w.scheme].judge),
    output:
        kept=expand("data/filtered/{{scheme}}/{shard}/kept.jsonl", shard=SHARDS),
        rejected=expand("data/filtered/{{scheme}}/{shard}/rejected.jsonl", shard=SHARDS),
        report=expand("data/filtered/{{scheme}}/{shard}/report.json", shard=SHARDS),
    log:
        "logs/quota/{scheme}.log",
    benchmark:
        "logs/quota/{scheme}.benchmark.tsv"
    wildcard_constraints:
        scheme=filtered_by("quota"),
    threads: cores_of("quota", "scheme")
    resources:
        **resources_of("quota", "scheme"),
    params:
        names=filter_names,
        values=values_of(filter_names),
    shell:
        r"""
        bezoar exec {output.kept[0]:q} -- \
            python {input.script:q} --params {params.names:q} \
            --generated data/generated/{wildcards.scheme} --prompts {input.prompts:q} --judge {input.judge:q} \
            --out data/filtered/{wildcards.scheme} --log {log:q}
        """


rule baseline:
    input:
        script=installed.find("scripts/filter/baseline.py"),
        kept=lambda w: f"data/filtered/{recipe.scheme_of(w.baseline)}/{w.shard}/kept.jsonl",
        rejected=lambda w: f"data/filtered/{recipe.scheme_of(w.baseline)}/{w.shard}/rejected.jsonl",
    output:
        kept="data/filtered/{baseline}/{shard}/kept.jsonl",
        rejected="data/filtered/{baseline}/{shard}/rejected.jsonl",
        report="data/filtered/{baseline}/{shard}/report.json",
    log:
        "logs/baseline/{baseline}/{shard}.log",
    threads: cores_of("baseline", "baseline")
    resources:
        **resources_of("baseline", "baseline"),
    params:
        values=values_of(lambda w: [f"filters.{w.baseline}", "seed"]),
    shell:
        r"""
        bezoar exec {output.kept:q} -- \
            python {input.script:q} --params filters.{wildcards.baseline} seed \
            --kept {input.kept:q} --rejected {input.rejected:q} \
            --out data/filtered/{wildcards.baseline}/{wildcards.shard} --log {log:q}
        """


rule score:
    input:
        script=lambda w: installed.find(f"scripts/score/{recipe.scores[w.scored].method}.py"),
        rows=scored_rows,
        prompts=lambda w: getattr(recipe.scores[w.scored], "prompts", []),
        models=scoring_models,
    output:
        rows="data/scored/{scored}/{shard}/rows.jsonl",
        dropped="data/scored/{scored}/{shard}/dropped.jsonl",
        report="data/scored/{scored}/{shard}/report.json",
    log:
        "logs/score/{scored}/{shard}.log",
    benchmark:
        "logs/score/{scored}/{shard}.benchmark.tsv"
    threads: cores_of("score", "scored")
    resources:
        **resources_of("score", "scored"),
    params:
        names=score_names,
        values=values_of(score_names),
    shell:
        r"""
        bezoar exec {output.rows:q} -- \
            python {input.script:q} --params {params.names:q} \
            --rows {input.rows:q} --prompts {input.prompts:q} --models {input.models:q} \
            --out data/scored/{wildcards.scored}/{wildcards.shard} --log {log:q}
        """


rule pairs:
    input:
        script=lambda w: installed.find(f"scripts/pairs/{recipe.pairs[w.pairs].method}.py"),
        rows=paired_rows,
        against=paired_against,
    output:
        rows="data/pairs/{pairs}/{shard}/rows.jsonl",
        dropped="data/pairs/{pairs}/{shard}/dropped.jsonl",
        report="data/pairs/{pairs}/{shard}/report.json",
    log:
        "logs/pairs/{pairs}/{shard}.log",
    threads: cores_of("pairs", "pairs")
    resources:
        **resources_of("pairs", "pairs"),
    params:
        values=values_of(lambda w: [f"pairs.{w.pairs}"]),
    shell:
        r"""
        bezoar exec {output.rows:q} -- \
            python {input.script:q} --params pairs.{wildcards.pairs} \
            --rows {input.rows:q} --against {input.against:q} \
            --out data/pairs/{wildcards.pairs}/{wildcards.shard} --log {log:q}
        """


rule select:
    input:
        script=lambda w: installed.find(f"scripts/select/{recipe.selections[w.selection].script}.py"),
        rows=lambda w: part_files(recipe.selections[w.selection].part),
        prompts=lambda w: recipe.selections[w.selection].files(),
        checkpoint=lambda w: map(checkpoint, recipe.selections[w.selection].checkpoints().values()),
        complexity=scorer("complexity"),
        quality=scorer("quality"),
    output:
        rows="data/selected/{selection}/rows.jsonl",
        places="data/selected/{selection}/places.jsonl",
        scores="data/selected/{selection}/scores.jsonl",
        dropped="data/selected/{selection}/dropped.jsonl",
        report="data/selected/{selection}/report.json",
    log:
        "logs/select/{selection}.log",
    benchmark:
        "logs/select/{selection}.benchmark.tsv"
    threads: cores_of("select", "selection")
    resources:
        **resources_of("select", "selection"),
    params:
        names=select_names,
        values=values_of(select_names),
    shell:
        r"""
        bezoar exec {output.rows:q} -- \
            python {input.script:q} --params {params.names:q} \
            --filtered data/filtered --source data/source --prompts {input.prompts:q} \
            --checkpoint {input.checkpoint:q} --complexity {input.complexity:q} --quality {input.quality:q} \
            --out data/selected/{wildcards.selection} --log {log:q}
        """


rule mix:
    input:
        script=installed.find("scripts/data/mix.py"),
        parts=mix_parts,
        earlier=mix_earlier,
        tokenizer=mix_tokenizer,
    output:
        train="data/mixes/{mix}/train.jsonl",
        eval="data/mixes/{mix}/eval.jsonl",
        origins="data/mixes/{mix}/origins.jsonl",
        dropped="data/mixes/{mix}/dropped.jsonl",
        report=report(
            "data/mixes/{mix}/report.json",
            caption="captions/mix.rst",
            category="Data",
            labels={"mix": "{mix}", "what": "rows"},
        ),
    log:
        "logs/mix/{mix}.log",
    benchmark:
        "logs/mix/{mix}.benchmark.tsv"
    threads: cores_of("mix", "mix")
    resources:
        **resources_of("mix", "mix"),
    params:
        names=mix_names,
        values=values_of(mix_names),
    shell:
        r"""
        bezoar exec {output.train:q} -- \
            python {input.script:q} --params {params.names:q} \
            --filtered data/filtered --source data/source --selected data/selected --pairs data/pairs \
            --earlier {input.earlier:q} --tokenizer {input.tokenizer:q} \
            --out data/mixes/{wildcards.mix} --log {log:q}
        """


rule certificate:
    input:
        script=installed.find("scripts/data/certificate.py"),
        train="data/mixes/{mix}/train.jsonl",
        eval="data/mixes/{mix}/eval.jsonl",
        targets=recipe.targets(),
    output:
        certificate=report(
            "data/certificates/{mix}.json",
            caption="captions/certificate.rst",
            category="Data",
            labels={"mix": "{mix}", "what": "certificate"},
        ),
    log:
        "logs/certificate/{mix}.log",
    benchmark:
        "logs/certificate/{mix}.benchmark.tsv"
    threads: cores_of("certificate", "mix")
    resources:
        **resources_of("certificate", "mix"),
    params:
        values=values_of(lambda w: ["contamination"]),
    shell:
        r"""
        bezoar exec {output.certificate:q} -- \
            python {input.script:q} --params contamination --mix data/mixes/{wildcards.mix} --targets {input.targets:q} \
            --out {output.certificate:q} --log {log:q}
        """


rule certified:
    input:
        script=installed.find("scripts/data/certified.py"),
        train="data/mixes/{mix}/train.jsonl",
        eval="data/mixes/{mix}/eval.jsonl",
        certificate="data/certificates/{mix}.json",
    output:
        train="data/certified/{mix}/train.jsonl",
        eval="data/certified/{mix}/eval.jsonl",
        dropped="data/certified/{mix}/dropped.jsonl",
    log:
        "logs/certified/{mix}.log",
    threads: cores_of("certified", "mix")
    resources:
        **resources_of("certified", "mix"),
    params:
        values=values_of(lambda w: []),
    shell:
        r"""
        bezoar exec {output.train:q} -- \
            python {input.script:q} --mix data/mixes/{wildcards.mix} --certificate {input.certificate:q} \
            --out data/certified/{wildcards.mix} --log {log:q}
        """


rule clearance:
    input:
        script=installed.find("scripts/data/clearance.py"),
        certificate="data/certificates/{mix}.json",
    output:
        clearance="data/clearances/{mix}.json",
    log:
        "logs/clearance/{mix}.log",
    threads: cores_of("clearance", "mix")
    resources:
        **resources_of("clearance", "mix"),
    params:
        values=values_of(lambda w: []),
    shell:
        r"""
        bezoar exec {output.clearance:q} -- \
            python {input.script:q} --certificate {input.certificate:q} --out {output.clearance:q} --log {log:q}
        """


rule dataset:
    input:
        script=installed.find("scripts/data/dataset.py"),
        train="data/certified/{mix}/train.jsonl",
        eval="data/certified/{mix}/eval.jsonl",
        origins="data/mixes/{mix}/origins.jsonl",
        reports=dataset_reports,
        certificate="data/certificates/{mix}.json",
        clearance="data/clearances/{mix}.json",  # what mustn't be trained on isn't published
        tokenizer=dataset_tokenizer,
    output:
        readme="data/datasets/{mix}/README.md",
        train="data/datasets/{mix}/train.parquet",
        eval="data/datasets/{mix}/eval.parquet",
        statistics="data/datasets/{mix}/statistics.json",
        croissant="data/datasets/{mix}/croissant.json",
        sums="data/datasets/{mix}/SHA256SUMS",
    log:
        "logs/dataset/{mix}.log",
    threads: cores_of("dataset", "mix")
    resources:
        **resources_of("dataset", "mix"),
    params:
        values=values_of(lambda w: [f"cards.{w.mix}"]),
    shell:
        r"""
        bezoar exec {output.readme:q} -- \
            python {input.script:q} --params cards.{wildcards.mix} \
            --rows data/certified/{wildcards.mix} --origins {input.origins:q} --data data \
            --certificate {input.certificate:q} --tokenizer {input.tokenizer:q} \
            --out data/datasets/{wildcards.mix} --log {log:q}
        """
