//! The rules of the Dockerfile language, a named test for each: the letter is the chapter, the number the rule.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

mod build;
mod buildkit;

mod a_lexing;
mod b_directives;
mod c_heredocs;
mod d_expansion;
mod e_scopes;
mod f_stages;
mod g_instructions;
mod h_files;
mod i_mounts;
mod j_ignore;
mod n_checks;
mod robustness;
