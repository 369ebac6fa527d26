//! Instructions that change the configuration only (section G).

use std::sync::Arc;

use lifecycle_diagnostics::{Diagnostic, Span, nearest};

use super::{Evaluator, Outcome};
use crate::expand::Expander;
use crate::fault::expansion_fault;
use crate::history;
use crate::instruction::{CommandLine, Healthcheck, Instruction, Pair, empty_volume, parse_port};
use crate::line::Word;
use crate::lint::Rule;
use crate::path;
use crate::signal;
use crate::step::{Action, History};

impl Evaluator<'_> {
    /// CMD (G1): the last one wins.
    pub(super) fn cmd(&mut self, instruction: &Instruction, command: &CommandLine) -> (Action, History) {
        let before = self.cmd.replace(instruction.span.clone());
        self.check_only_one(instruction, before);
        let arguments = self.default_command(instruction, command);
        let created_by = history::quoted_list("CMD", &arguments);
        (Action::Cmd(arguments), History::config(created_by))
    }

    /// ENTRYPOINT (G2): a CMD of the base goes unless this stage has given its own.
    pub(super) fn entrypoint(
        &mut self,
        instruction: &Instruction,
        command: &CommandLine,
    ) -> (Action, History) {
        let before = self.entrypoint.replace(instruction.span.clone());
        self.check_only_one(instruction, before);
        let arguments = self.default_command(instruction, command);
        let created_by = history::quoted_list("ENTRYPOINT", &arguments);
        (
            Action::Entrypoint {
                arguments,
                clears_cmd: self.cmd.is_none(),
            },
            History::config(created_by),
        )
    }

    fn default_command(&mut self, instruction: &Instruction, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(arguments) => arguments.clone(),
            CommandLine::Shell(text) => {
                if self.scope.shell.is_empty() {
                    let message = format!(
                        "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                        instruction.keyword.text
                    );
                    self.report(Rule::JsonArgsRecommended, instruction, message);
                }
                self.scope.with_shell(text.text.clone())
            }
        }
    }

    /// HEALTHCHECK (G11): the shell form is left to the engine.
    pub(super) fn healthcheck(
        &mut self,
        instruction: &Instruction,
        check: &Healthcheck,
    ) -> (Action, History) {
        let before = self.healthcheck.replace(instruction.span.clone());
        self.check_only_one(instruction, before);
        (
            Action::Healthcheck(check.clone()),
            History::config(history::healthcheck(check)),
        )
    }

    /// ENV (G4, D9): every pair sees what was in force before the instruction.
    pub(super) fn env(&mut self, instruction: &Instruction, pairs: &[Pair]) -> Outcome {
        let pairs = self.pairs(instruction, pairs)?;
        for (key, value) in &pairs {
            self.check_secret(instruction, "ENV", key);
            Arc::make_mut(&mut self.scope.environment).set(key.clone(), value.clone());
            Arc::make_mut(&mut self.scope.config_env).set(key.clone(), value.clone());
        }
        let created_by = history::pairs("ENV", &pairs);
        Ok((Action::Env(pairs), History::config(created_by)))
    }

    /// LABEL (G5)
    pub(super) fn label(&mut self, instruction: &Instruction, pairs: &[Pair]) -> Outcome {
        let pairs = self.pairs(instruction, pairs)?;
        let created_by = history::pairs("LABEL", &pairs);
        Ok((Action::Label(pairs), History::config(created_by)))
    }

    fn pairs(
        &mut self,
        instruction: &Instruction,
        pairs: &[Pair],
    ) -> Result<Vec<(String, String)>, Diagnostic> {
        let mut expanded = Vec::new();
        for pair in pairs {
            if pair.legacy {
                let keyword = &instruction.keyword.text;
                let message = format!(
                    "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
                );
                self.report(Rule::LegacyKeyValueFormat, instruction, message);
            }
            let key = self.expand(instruction, &pair.key)?;
            expanded.push((key, self.expand(instruction, &pair.value)?));
        }
        Ok(expanded)
    }

    /// EXPOSE (G6): words expand before they are split (D10).
    pub(super) fn expose(&mut self, instruction: &Instruction, words: &[Word]) -> Outcome {
        let mut ports = Vec::new();
        for word in words {
            let texts = Expander::new(self.escape)
                .words(&word.text, &self.scope.environment)
                .map_err(|error| expansion_fault(&error, word))?;
            for text in texts {
                ports.extend(self.port(instruction, word, &text)?);
            }
        }
        let created_by = history::list("EXPOSE", &ports);
        Ok((Action::Expose(ports), History::config(created_by)))
    }

    fn port(
        &mut self,
        instruction: &Instruction,
        word: &Word,
        text: &str,
    ) -> Result<Vec<String>, Diagnostic> {
        let port = parse_port(text)
            .map_err(|message| Diagnostic::error("invalid-port", message).at(word.span.clone()))?;
        if port.odd_protocol_case {
            let message = format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
            self.report(Rule::ExposeProtoCasing, instruction, message);
        }
        if port.has_host_part {
            let message = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
            );
            self.report(Rule::ExposeInvalidFormat, instruction, message);
        }
        Ok(port.ports)
    }

    pub(super) fn maintainer(author: &Word) -> (Action, History) {
        let created_by = history::value("MAINTAINER", &author.text);
        (
            Action::Maintainer(author.text.clone()),
            History::config(created_by),
        )
    }

    /// SHELL (G3)
    pub(super) fn shell(&mut self, shell: &[String]) -> (Action, History) {
        self.scope.shell = shell.to_vec();
        (
            Action::Shell(shell.to_vec()),
            History::config(history::list("SHELL", shell)),
        )
    }

    /// STOPSIGNAL (G12)
    pub(super) fn stop_signal(&mut self, instruction: &Instruction, word: &Word) -> Outcome {
        let text = self.expand(instruction, word)?;
        if !signal::is_signal(&text) {
            let diagnostic =
                Diagnostic::error("invalid-signal", format!("invalid signal: {text}")).at(word.span.clone());
            let short = text.to_uppercase();
            let short = short.strip_prefix("SIG").unwrap_or(&short);
            return Err(match nearest(short, signal::names()) {
                Some(known) => diagnostic.help(format!("did you mean SIG{known}?")),
                None => diagnostic,
            });
        }
        let created_by = history::value("STOPSIGNAL", &text);
        Ok((Action::StopSignal(text), History::config(created_by)))
    }

    /// USER (G8)
    pub(super) fn user(&mut self, instruction: &Instruction, word: &Word) -> Outcome {
        let user = self.expand(instruction, word)?;
        self.scope.user.clone_from(&user);
        let created_by = history::value("USER", &user);
        Ok((Action::User(user), History::config(created_by)))
    }

    /// VOLUME (G7, D12): no word splits after expansion.
    pub(super) fn volume(&mut self, instruction: &Instruction, words: &[Word]) -> Outcome {
        let volumes = self.expand_all(instruction, words)?;
        if let Some((_, word)) = volumes.iter().zip(words).find(|(volume, _)| volume.is_empty()) {
            return Err(empty_volume(&word.span));
        }
        let created_by = history::list("VOLUME", &volumes);
        Ok((Action::Volume(volumes), History::config(created_by)))
    }

    /// WORKDIR (G10)
    pub(super) fn workdir(&mut self, instruction: &Instruction, word: &Word) -> Outcome {
        let written = self.expand(instruction, word)?;
        if !self.scope.workdir_was_set && !written.starts_with('/') {
            let message =
                format!("Relative workdir {written:?} can have unexpected results if the base image changes");
            self.report(Rule::WorkdirRelativePath, instruction, message);
        }
        self.scope.workdir_was_set = true;
        let path = path::working_directory(&self.scope.working_directory, &written);
        self.scope.working_directory.clone_from(&path);
        let created_by = history::value("WORKDIR", &path);
        let history = if path == "/" {
            History::config(created_by)
        } else {
            History::layer(created_by)
        };
        Ok((
            Action::Workdir {
                path,
                user: self.scope.user.clone(),
            },
            history,
        ))
    }

    /// MultipleInstructionsDisallowed points at the earlier one: it is the one without effect.
    fn check_only_one(&mut self, instruction: &Instruction, before: Option<Span>) {
        let Some(before) = before else { return };
        let message = format!(
            "Multiple {} instructions should not be used in the same stage because only the last one will be used",
            instruction.keyword.text
        );
        self.findings
            .report(Rule::MultipleInstructionsDisallowed, &before, &[], message);
    }
}
