"""Random edits, accidents and builds by a random front end, against a plain oracle: 0 wrong, 0 needless."""

import os
from collections.abc import Callable

import accidents
import edits
import pytest
from fuzzed import furnish
from fuzzing import Fuzz
from graph import Graph

CHANGES: list[Callable[[Fuzz], str | None]] = [
    *([edits.change_a_value] * 4),
    *([edits.change_a_type] * 2),
    edits.swap_two_values,
    *([edits.go_back_to_earlier_values] * 2),
    edits.rename_a_block,
    edits.reorder_a_list,
    edits.reorder_a_map,
    edits.rewire,
    edits.change_the_shards,
    *([edits.edit_the_words] * 2),
    edits.swap_file_and_folder,
    edits.link_a_source,
    edits.edit_a_mate,
    edits.edit_the_notes,
    *([edits.edit_a_comment] * 2),
    *([edits.edit_a_meaning] * 3),
    *([edits.add_unused_code] * 2),
    edits.rename_a_module,
    *([edits.shadow_a_module] * 2),
    edits.rename_a_rule,
    edits.rename_a_script,
    *([edits.edit_a_command] * 3),
    edits.edit_rules_in_vain,
    *([edits.set_a_variable] * 2),
    *([edits.install_a_version] * 2),
    *([accidents.damage_outputs] * 2),
    accidents.delete_a_folder,
    *([accidents.link_an_output] * 2),
    accidents.scramble_times,
    accidents.lose_objects,
    accidents.lose_all_objects,
    accidents.lose_proofs,
    accidents.lose_a_trace,
    accidents.lose_the_cache,
    accidents.delete_snakemakes_records,
    accidents.delete_the_locks,
    accidents.touch,
    accidents.look,
    accidents.force,
    accidents.write_dvcs_settings,
    accidents.check_out_by_dvc,
    accidents.collect_garbage,
    *([accidents.commit] * 2),
    accidents.go_to_a_commit,
    accidents.take_an_earlier_lock,
    accidents.stash,
    accidents.build_in_a_worktree,
    accidents.build_in_a_clone,
    *([accidents.interrupt] * 2),
]


def fuzz(graph: Graph, seed: int, steps: int, *, observed: bool = False) -> None:
    """Build, and then take random steps."""
    run = Fuzz(furnish(graph, observed=observed), seed)
    run.build("snakemake")
    accidents.commit(run)
    for number in range(steps):
        run.story.append(f"{number}:")
        run.step(run.chance.choice(CHANGES))
    print(
        f"seed {seed}: {steps} steps, 0 wrong, 0 needless, {run.ran} jobs run, {run.least} had to, {run.all} possible"
    )


def test_four_random_steps_are_right(graph: Graph) -> None:
    """Unused code, another name of a rule, an edited input, other times: what costs few jobs and starts."""
    fuzz(graph, seed=15, steps=4)


@pytest.mark.fuzz
@pytest.mark.parametrize("observed", [False, True], ids=["as here", "observed"])
def test_many_random_steps_are_right(graph: Graph, observed: bool) -> None:
    seed, steps = (int(os.environ.get(name, default)) for name, default in (("FUZZ_SEED", "0"), ("FUZZ_STEPS", "200")))
    fuzz(graph, seed, steps, observed=observed)
