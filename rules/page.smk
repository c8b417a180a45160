"""The page that shows what the recipe made.

in:   reports, rows that were kept and left out, curves, answers, judgments and results of all blocks
out:  results/report.html  one file with all of it, for a browser; it needs no network
"""


rule page:
    input:
        script=installed.find("scripts/report/page.py"),
        artifacts=page_files(),
    output:
        page="results/report.html",
    log:
        "logs/report/page.log",
    threads: cores_of("page")
    resources:
        **resources_of("page"),
    params:
        values=values_of(lambda w: ["page"]),
    shell:
        r"""
        bezoar exec {output.page:q} -- \
            python {input.script:q} --params page --out {output.page:q} --log {log:q}
        """
