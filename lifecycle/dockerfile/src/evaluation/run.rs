//! RUN (section I) and its heredocs (C7 to C10).

use lifecycle_diagnostics::Diagnostic;

use super::{Evaluator, Outcome};
use crate::expand::Expander;
use crate::fault::expansion_fault;
use crate::heredoc::{Heredoc, HeredocStart};
use crate::history;
use crate::instruction::{CommandLine, Instruction, Mount, MountKind, Run};
use crate::line::Word;
use crate::path;
use crate::plan::Origin;
use crate::step::{Action, History, PlacedMount, RunAction, Script};

/// Where a heredoc that is a program appears (C9).
const SCRIPTS: &str = "/dev/pipes";

impl Evaluator<'_> {
    pub(super) fn run(&mut self, instruction: &Instruction, run: &Run, origins: &[Origin]) -> Outcome {
        let mut mounts = Vec::new();
        for (spec, origin) in run.mounts.iter().zip(origins) {
            mounts.push(self.mount(instruction, spec, origin)?);
        }
        let (arguments, script) = self.command(run)?;
        if arguments.is_empty() {
            return Err(Diagnostic::error("empty-command", "RUN has no command").at(instruction.span.clone()));
        }
        let created_by = history::run(&self.args_in_force(), &arguments);
        let action = RunAction {
            arguments,
            script,
            environment: self.scope.environment.clone(),
            working_directory: self.scope.working_directory.clone(),
            user: self.scope.user.clone(),
            mounts,
            network: run.network,
            security: run.security,
            devices: run.devices.clone(),
        };
        Ok((Action::Run(Box::new(action)), History::layer(created_by)))
    }

    /// The ARGs in scope with the values in force, which a later ENV may have set (L1).
    fn args_in_force(&self) -> crate::environment::Environment {
        let mut args = self.scope.args.clone();
        for (name, _) in self.scope.args.iter() {
            if let Some(value) = self.scope.environment.get(name) {
                args.set(name, value);
            }
        }
        args
    }

    /// The arguments, and the file that they run if the whole command is a heredoc with `#!`.
    fn command(&self, run: &Run) -> Result<(Vec<String>, Option<Script>), Diagnostic> {
        let text = match &run.command {
            CommandLine::Exec(arguments) => return Ok((arguments.clone(), None)),
            CommandLine::Shell(text) => &text.text,
        };
        let [first, ..] = run.heredocs.as_slice() else {
            return Ok((self.scope.with_shell(text.clone()), None));
        };
        if HeredocStart::parse(text).is_none() {
            return Ok((self.scope.with_shell(rejoin(text, &run.heredocs)?), None));
        }
        let content = first.content();
        if content.starts_with(b"#!") {
            let script = Script {
                name: first.name.clone(),
                content,
            };
            let path = path::join(SCRIPTS, &first.name);
            return Ok((self.scope.with_shell(path), Some(script)));
        }
        Ok((self.scope.with_shell(utf8(content, first)?), None))
    }

    fn mount(
        &mut self,
        instruction: &Instruction,
        spec: &Word,
        origin: &Origin,
    ) -> Result<PlacedMount, Diagnostic> {
        let expander = Expander::new(self.escape);
        let environment = self.scope.environment.clone();
        let mut undefined = std::collections::BTreeSet::new();
        let mount = Mount::parse(spec, |value| {
            let word = Word {
                text: value.to_owned(),
                span: spec.span.clone(),
            };
            let expansion = expander
                .text(value, &environment)
                .map_err(|error| expansion_fault(&error, &word))?;
            undefined.extend(expansion.undefined);
            Ok(expansion.text)
        })?;
        self.check_undefined(instruction, spec, &undefined);
        let id = mount_id(&mount);
        let target = self.mount_target(&mount, &id);
        if target == "/" {
            let message = format!("invalid mount target {:?}", mount.target);
            return Err(Diagnostic::error("invalid-mount", message).at(spec.span.clone()));
        }
        let origin = match (mount.kind, &mount.from) {
            (MountKind::Bind, _) | (MountKind::Cache, Some(_)) => origin.clone(),
            _ => Origin::Scratch,
        };
        Ok(PlacedMount {
            mount,
            origin,
            target,
            id,
        })
    }

    /// A relative target joins the working directory (I7), a secret's defaults to `/run/secrets/<id>` unless it is
    /// a variable (I11).
    fn mount_target(&self, mount: &Mount, id: &str) -> String {
        match mount.kind {
            MountKind::Secret if mount.target.is_empty() && mount.env.is_some() => String::new(),
            MountKind::Secret if mount.target.is_empty() => {
                let name = id.trim_end_matches('/').rsplit('/').next().unwrap_or(id);
                path::join("/run/secrets", name)
            }
            MountKind::Ssh if mount.target.is_empty() => String::new(),
            _ => path::join(&self.scope.working_directory, &mount.target),
        }
    }
}

fn mount_id(mount: &Mount) -> String {
    let given = mount.id.clone();
    match mount.kind {
        MountKind::Bind | MountKind::Tmpfs => String::new(),
        MountKind::Cache => given.unwrap_or_else(|| path::clean(&mount.target)),
        MountKind::Ssh => given.unwrap_or_else(|| "default".to_owned()),
        MountKind::Secret if !mount.source.is_empty() => mount.source.clone(),
        MountKind::Secret => given.unwrap_or_else(|| {
            let name = mount.target.trim_end_matches('/').rsplit('/').next();
            name.unwrap_or_default().to_owned()
        }),
    }
}

/// The text with its bodies behind it, for the shell to redirect (C10).
fn rejoin(text: &str, heredocs: &[Heredoc]) -> Result<String, Diagnostic> {
    let mut whole = text.to_owned();
    for heredoc in heredocs {
        whole.push('\n');
        whole.push_str(&utf8(heredoc.body.bytes().to_vec(), heredoc)?);
        whole.push_str(&heredoc.name);
    }
    Ok(whole)
}

/// Arguments end up in the image's history, which is JSON.
pub(super) fn utf8(content: Vec<u8>, heredoc: &Heredoc) -> Result<String, Diagnostic> {
    String::from_utf8(content).map_err(|_| {
        let body = &heredoc.body;
        let valid = body.bytes().utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
        let range = body.range();
        Diagnostic::error("not-utf8", "heredoc is not valid UTF-8")
            .at(body.source().span(range.start + valid..range.start + valid + 1))
            .note("a body that is a file by itself may hold any bytes: quote its word, or begin a script with #!")
    })
}
