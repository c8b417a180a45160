"""The README's promises, and the test files that check them.

`make test-long` ends with a line for each promise. A file under a promise belongs to the default tier, unless all
its tests need a whole build, a GPU or installed servers.
"""

from collections import Counter
from collections.abc import Iterable

PROMISES: dict[str, tuple[str, ...]] = {
    "an artifact is up to date only if a proof says so, and only what changed runs": (
        "gpu/test_gpu_room.py",
        "unit/test_acceptances.py",
        "unit/test_cache_code.py",
        "unit/test_cache_decide.py",
        "unit/test_cache_form.py",
        "unit/test_cache_hashing.py",
        "unit/test_cache_lookup.py",
        "unit/test_cache_objects.py",
        "unit/test_cache_prints.py",
        "unit/test_cache_producers.py",
        "unit/test_cache_untraced.py",
        "unit/test_cache_proofs.py",
        "unit/test_cache_recover.py",
        "unit/test_cache_records.py",
        "unit/test_cache_room.py",
        "unit/test_cache_runs.py",
        "unit/test_cache_storable.py",
        "unit/test_cache_together.py",
        "unit/test_layout.py",
        "unit/test_cache_syntax.py",
        "unit/test_cache_trace.py",
        "workflow/test_forged.py",
        "workflow/test_fuzz.py",
        "workflow/test_lost_cache.py",
        "workflow/test_outside.py",
        "workflow/test_plan.py",
        "workflow/test_rerun.py",
        "workflow/test_situations.py",
        "workflow/test_storable.py",
    ),
    "`dvc repro` builds the same graph": (
        "unit/test_cache_ahead.py",
        "unit/test_cache_dvc.py",
        "unit/test_cache_resolved.py",
        "workflow/test_ahead.py",
        "workflow/test_contracts.py",
        "workflow/test_dvc.py",
    ),
    "a clone with a remote computes nothing, and two people build nothing twice": (
        "cluster/test_remotes.py",
        "unit/test_cache_resolve.py",
        "unit/test_cache_signed.py",
        "unit/test_cache_signing.py",
        "workflow/test_public_cache.py",
        "workflow/test_two_people.py",
    ),
    "the same graph on SLURM": (
        "cluster/test_embedded.py",
        "cluster/test_slurm.py",
        "unit/test_cluster.py",
    ),
    "`bezoar` says what would run, why, and what it costs": (
        "unit/test_cache_attest.py",
        "unit/test_cache_why.py",
        "unit/test_cli.py",
        "unit/test_installed.py",
        "unit/test_logs.py",
        "unit/test_project.py",
        "unit/test_script.py",
        "unit/test_settings.py",
        "workflow/test_attest.py",
        "workflow/test_commands.py",
        "workflow/test_identity.py",
        "workflow/test_init.py",
    ),
    "bad input is a clear error, and nothing is lost": (
        "unit/test_cache_altered.py",
        "unit/test_cache_committed.py",
        "unit/test_cache_config.py",
        "unit/test_cache_foreign.py",
        "unit/test_cache_fuzz.py",
        "unit/test_cache_upkeep.py",
        "unit/test_files.py",
        "unit/test_marks.py",
        "unit/test_modes.py",
        "unit/test_text.py",
        "unit/test_yaml12.py",
        "workflow/test_altered.py",
        "workflow/test_bad_input.py",
        "workflow/test_edges.py",
        "workflow/test_own_files.py",
        "workflow/test_upkeep.py",
    ),
    "a killed run goes on where it was": (
        "unit/test_requests_kill.py",
        "workflow/test_kill.py",
    ),
    "no call to a model is paid for twice, and a run keeps to its budget": (
        "unit/test_approval.py",
        "unit/test_backends.py",
        "unit/test_requests_answers.py",
        "unit/test_requests_batches.py",
        "unit/test_requests_catalogue.py",
        "unit/test_requests_failures.py",
        "unit/test_requests_fuzz.py",
        "unit/test_requests_hostile.py",
        "unit/test_requests_money.py",
        "unit/test_requests_rate_limit.py",
        "unit/test_requests_store.py",
        "workflow/test_spending.py",
    ),
    "a model server is started, followed and stopped": (
        "unit/test_requests_serving.py",
        "unit/test_served_evaluations.py",
        "unit/test_served_weights.py",
        "unit/test_serving.py",
        "unit/test_serving_listeners.py",
        "workflow/test_serve.py",
        "workflow/test_served_checkpoints.py",
    ),
    "no row vanishes without a reason": (
        "real/test_malformed_samples.py",
        "real/test_real_samples.py",
        "real/test_smollm2.py",
        "unit/test_accounting.py",
        "unit/test_cleaning.py",
        "unit/test_audit_rows.py",
        "unit/test_audit_trace.py",
        "unit/test_baseline.py",
        "unit/test_dataset.py",
        "unit/test_contamination.py",
        "unit/test_clean.py",
        "unit/test_targets.py",
        "workflow/test_certificate.py",
        "unit/test_filter.py",
        "unit/test_quota.py",
        "unit/test_totals.py",
        "unit/test_formats.py",
        "unit/test_generate.py",
        "unit/test_generate_rules.py",
        "unit/test_licences.py",
        "unit/test_data_properties.py",
        "unit/test_mix.py",
        "unit/test_near.py",
        "unit/test_mix_order.py",
        "unit/test_readers.py",
        "unit/test_refusals.py",
        "unit/test_repetition.py",
        "unit/test_rows.py",
        "unit/test_pin.py",
        "unit/test_sources.py",
        "unit/test_your_data.py",
        "workflow/test_hub.py",
    ),
    "training resumes, merges and repeats to the byte": (
        "gpu/test_gpu.py",
        "gpu/test_gpu_training.py",
        "real/test_openbezoar.py",
        "tiny/test_openllama.py",
        "unit/test_chat.py",
        "unit/test_devices.py",
        "unit/test_gguf.py",
        "unit/test_memory.py",
        "unit/test_merging.py",
        "unit/test_models.py",
        "unit/test_packing.py",
        "unit/test_trackers.py",
        "unit/test_tokenizers.py",
        "unit/test_parity.py",
        "unit/test_training.py",
        "unit/test_tuning.py",
    ),
    "every score has its interval and its controls": (
        "unit/test_audit_labels.py",
        "unit/test_balanced.py",
        "unit/test_likelihood.py",
        "unit/test_side_by_side.py",
        "unit/test_mtbench.py",
        "unit/test_stats.py",
        "unit/test_tasks.py",
        "workflow/test_own_tasks.py",
    ),
    "the embedded recipe builds offline, learns, and repeats to the byte": (
        "tiny/test_tiny.py",
        "unit/test_world.py",
    ),
    "fifteen lines of recipe train a checkpoint on one's own rows": (
        "tiny/test_own_model.py",
        "tiny/test_short_recipe.py",
        "unit/test_publish.py",
        "workflow/test_published.py",
        "unit/test_show.py",
        "unit/test_params.py",
        "unit/test_schema.py",
    ),
    "a method, an evaluation, a row format or a backend is one module and a line": ("workflow/test_adding.py",),
    "set-up installs what was checked, and tests stay on this machine": (
        "unit/test_promises.py",
        "unit/test_requirements.py",
        "workflow/test_guard.py",
        "workflow/test_warm.py",
    ),
}
FILES = {file: promise for promise, files in PROMISES.items() for file in files}


def summary(outcomes: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each promise with a test that ran.

    Args:
        outcomes: For each test, its file below tests/, and `passed`, `failed`, `error` or `skipped`.
    """
    counts: dict[str, Counter[str]] = {promise: Counter() for promise in PROMISES}
    for file, outcome in outcomes:
        counts[FILES[file]][outcome] += 1
    return [
        f"{'broken' if found['failed'] + found['error'] else 'held' if found['passed'] else 'not tried':9} {promise}: "
        + ", ".join(f"{number} {outcome}" for outcome, number in sorted(found.items()))
        for promise, found in counts.items()
        if found
    ]
