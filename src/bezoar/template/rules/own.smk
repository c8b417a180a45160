"""Your own rules. This one is an example: remove it, with its script and its line in the Snakefile.

in:   data/mixes/<mix>/train.jsonl  a mix's train split; without rows that repeat evaluation items: data/certified/
out:  results/words/<mix>.json      their lengths; a metric, since it is in results/
"""


rule words:
    input:
        script="scripts/words.py",
        rows="data/mixes/{mix}/train.jsonl",
    output:
        report="results/words/{mix}.json",
    log:
        "logs/words/{mix}.log",
    params:
        values={},  # it reads nothing of params.yaml
    shell:
        r"""
        bezoar exec {output.report:q} -- \
            python {input.script:q} --rows {input.rows:q} --out {output.report:q} --log {log:q}
        """
