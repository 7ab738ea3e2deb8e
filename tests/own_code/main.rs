//! Programs of the user's: what ran is what was hashed. Each test is named after what went wrong elsewhere, or in an earlier
//! version of flow.
//!
//! All of it holds in namespaces, where there are none, and for an ordinary user.

mod command;
mod inputs;
mod outputs;

use std::cell::Cell;

use flow_tests::Test;

use command::*;
use inputs::*;
use outputs::*;

/// Each of these is tried in all ways.
macro_rules! in_all_ways {
    ($($name:ident,)*) => {
        mod isolated {
            $(#[test]
            fn $name() {
                super::tried(super::Way::Isolated, super::$name);
            })*
        }

        mod not_isolated {
            $(#[test]
            fn $name() {
                super::tried(super::Way::NotIsolated, super::$name);
            })*
        }

        mod as_an_ordinary_user {
            $(#[test]
            fn $name() {
                super::tried(super::Way::Ordinary, super::$name);
            })*
        }
    };
}

in_all_ways! {
    two_instances_never_meet,
    an_undeclared_neighbour_is_not_there,
    python_writes_its_caches_where_nobody_reads_them_and_code_may_be_edited_meanwhile,
    without_pipefail_a_failed_first_half_is_a_success,
    the_shell_says_that_it_is_strict,
    status_141_is_explained,
    a_command_line_is_the_same_at_each_attempt_and_in_each_checkout,
    an_index_lies_beside_its_input_and_outputs_are_found_at_their_paths,
    a_glob_takes_what_matches_and_the_inputs_among_it,
    files_are_written_before_the_program_starts,
    nothing_is_written_through_to_another_input,
    execute_bits_are_kept_and_empty_files_are_files,
    links_among_the_inputs_are_content_or_an_error_that_names_them,
    links_among_outputs_are_content,
    all_files_have_one_time,
    what_it_wrote_instead_is_said,
    arguments_of_any_kind_arrive,
    the_project_s_folder_is_the_way_out,
    a_project_has_one_stage_at_a_time_in_a_run,
    a_project_has_one_stage_at_a_time_whatever_the_store,
    checkpoints_survive_and_outputs_do_not,
    two_checkouts_share_a_store,
    lists_of_files_and_what_they_leave_out,
    many_files_are_no_long_command_line,
    two_inputs_of_one_name_are_an_error_before_anything_runs,
    names_that_are_no_utf_8_are_an_error_that_names_them,
    a_glob_takes_large_inputs_as_they_are,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// As the machine has it.
    Isolated,
    /// Without namespaces.
    NotIsolated,
    /// As a user who is not root.
    Ordinary,
}

thread_local! {
    static WAY: Cell<Way> = const { Cell::new(Way::Isolated) };
}

fn tried(way: Way, test: fn()) {
    let is_root = rustix::process::getuid().is_root();
    if way == Way::Ordinary && !is_root {
        // Then all others are.
        return;
    }
    WAY.set(way);
    test();
}

/// A folder in which flow is called in the way that is tried.
fn new() -> Test {
    match WAY.get() {
        Way::Isolated => Test::new(),
        Way::NotIsolated => Test::new().always("FLOW_ISOLATION", "off"),
        Way::Ordinary => Test::new().as_user(65534),
    }
}
