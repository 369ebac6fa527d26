//! Checks of a file as written, before anything is expanded.

use super::{Findings, Rule, uses_odd_case};
use crate::dockerfile::Dockerfile;
use crate::instruction::{Command, Instruction};
use crate::stage::Stage;

/// Everything that needs neither arguments nor images.
pub(crate) fn check_written(dockerfile: &Dockerfile, findings: &mut Findings) {
    dockerfile
        .instructions()
        .for_each(|instruction| check_continuation(instruction, findings));
    for instruction in dockerfile.instructions() {
        match &instruction.command {
            Command::Maintainer(_) => findings.report(
                Rule::MaintainerDeprecated,
                &instruction.span,
                &instruction.comments,
                "Maintainer instruction is deprecated in favor of using label".to_owned(),
            ),
            Command::From(_) => check_from(instruction, findings),
            Command::Arg(definitions) => {
                let names: Vec<&str> = definitions
                    .iter()
                    .map(|definition| definition.name.as_str())
                    .collect();
                check_description("ARG", &names, instruction, findings);
            }
            _ => {}
        }
    }
    check_stage_names(dockerfile.stages(), findings);
    check_instruction_casing(dockerfile.stages(), findings);
}

fn check_continuation(instruction: &Instruction, findings: &mut Findings) {
    if let Some(blank) = &instruction.empty_continuation {
        let message = "Empty continuation line".to_owned();
        findings.report(Rule::NoEmptyContinuation, blank, &[], message);
    }
}

fn check_from(instruction: &Instruction, findings: &mut Findings) {
    let Command::From(base) = &instruction.command else {
        return;
    };
    let Some((keyword, name)) = &base.written_name else {
        return;
    };
    let mut report = |rule, message| findings.report(rule, &instruction.span, &instruction.comments, message);
    if name.text != name.text.to_lowercase() {
        report(
            Rule::StageNameCasing,
            format!("Stage name '{}' should be lowercase", name.text),
        );
    }
    let from = &instruction.keyword.text;
    let expected = if *from == from.to_lowercase() {
        keyword.text.to_lowercase()
    } else {
        keyword.text.to_uppercase()
    };
    // A FROM in mixed case has a finding of its own.
    if !uses_odd_case(from) && keyword.text != expected {
        report(
            Rule::FromAsCasing,
            format!("'{}' and '{from}' keywords' casing do not match", keyword.text),
        );
    }
    let name = base.name.as_ref().map_or("", |name| name.text.as_str());
    check_description("FROM", &[name], instruction, findings);
}

/// The last comment above describes the stage or argument, so it has to start with the name.
fn check_description(keyword: &str, names: &[&str], instruction: &Instruction, findings: &mut Findings) {
    let (Some(comment), Some(first)) = (instruction.comments.last(), names.first()) else {
        return;
    };
    let described = comment.split(' ').next().unwrap_or_default();
    if names.contains(&described) {
        return;
    }
    let example = if names.len() > 1 { "<arg_key>" } else { first };
    let message = format!("Comment for {keyword} should follow the format: `# {example} <description>`");
    findings.report(
        Rule::InvalidDefinitionDescription,
        &instruction.span,
        &instruction.comments,
        message,
    );
}

fn check_stage_names(stages: &[Stage], findings: &mut Findings) {
    let mut seen = std::collections::HashSet::new();
    for stage in stages {
        let Some(name) = stage.name() else { continue };
        let from = stage.from();
        if matches!(name, "context" | "scratch") {
            let message = format!("Stage name should not use the same name as reserved stage {name:?}");
            findings.report(Rule::ReservedStageName, &from.span, &[], message);
        }
        if !seen.insert(name) {
            let message = format!("Duplicate stage name {name:?}, stage names should be unique");
            findings.report(Rule::DuplicateStageName, &from.span, &[], message);
        }
    }
}

/// Every instruction word should be in the case of the majority.
fn check_instruction_casing(stages: &[Stage], findings: &mut Findings) {
    let words = || stages.iter().flat_map(Stage::all_instructions);
    let (mut lower, mut upper) = (0, 0);
    for instruction in words() {
        let word = &instruction.keyword.text;
        if *word == word.to_lowercase() {
            lower += 1;
        } else if *word == word.to_uppercase() {
            upper += 1;
        }
    }
    for instruction in words() {
        let word = &instruction.keyword.text;
        let (right, casing) = if lower > upper {
            (word.to_lowercase(), "lowercase")
        } else {
            (word.to_uppercase(), "uppercase")
        };
        if *word != right {
            let message =
                format!("Command '{word}' should match the case of the command majority ({casing})");
            findings.report(Rule::ConsistentInstructionCasing, &instruction.span, &[], message);
        }
    }
}
