//! What a Dockerfile of an extension says about the image that it wants (cnb.md 3.3).

use lifecycle_dockerfile::{Command, Instruction};

/// Instructions that are meant to be used.
const USUAL: [&str; 10] = [
    "ADD", "ARG", "COPY", "ENV", "FROM", "LABEL", "RUN", "SHELL", "USER", "WORKDIR",
];

/// A Dockerfile of an extension.
#[derive(Debug)]
pub(crate) struct Dockerfile(lifecycle_dockerfile::Dockerfile);

impl Dockerfile {
    /// Reads it; `name` is for messages.
    pub(crate) fn parse(name: &str, bytes: Vec<u8>) -> Result<Self, String> {
        let parsed = lifecycle_dockerfile::Dockerfile::parse(name, bytes);
        parsed.map(Self).map_err(|diagnostics| {
            let texts: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
            texts.join("; ")
        })
    }

    /// The base image, unless it is the one that is given.
    pub(crate) fn base(&self) -> Option<&str> {
        let stage = self.0.stages().first()?;
        let image = stage.base().image.text.as_str();
        (!is_base_image(image)).then_some(image)
    }

    /// Whether there is more than a base image.
    pub(crate) fn does_more(&self) -> bool {
        self.0
            .stages()
            .iter()
            .any(|stage| !stage.instructions().is_empty())
    }

    /// Instructions that should not be used, with their lines.
    pub(crate) fn unusual(&self) -> impl Iterator<Item = (usize, String)> {
        let word = |instruction: &Instruction| instruction.keyword.text.to_uppercase();
        self.0
            .stages()
            .iter()
            .flat_map(lifecycle_dockerfile::Stage::instructions)
            .map(move |instruction| (instruction.span.start().line, word(instruction)))
            .filter(|(_, word)| !USUAL.contains(&word.as_str()))
    }

    /// The rules of a `run.Dockerfile`.
    pub(crate) fn check_run(&self, may_extend: bool) -> Result<(), String> {
        self.check_single_stage("run")?;
        if !may_extend && (self.does_more() || self.base().is_none()) {
            return Err("run.Dockerfile may only switch the run image with FROM: its Buildpack API and the Platform API cannot extend it".to_owned());
        }
        Ok(())
    }

    /// The rules of a `build.Dockerfile`.
    pub(crate) fn check_build(&self) -> Result<(), String> {
        self.check_single_stage("build")?;
        let declares = |instruction: &Instruction| match &instruction.command {
            Command::Arg(definitions) => definitions
                .iter()
                .any(|definition| definition.name == "base_image"),
            _ => false,
        };
        if self.0.globals().first().is_some_and(declares) && self.base().is_none() {
            Ok(())
        } else {
            Err("build.Dockerfile must start with `ARG base_image` and `FROM ${base_image}`".to_owned())
        }
    }

    fn check_single_stage(&self, kind: &str) -> Result<(), String> {
        if self.0.stages().len() > 1 {
            return Err(format!(
                "{kind}.Dockerfile is not permitted to use multistage build"
            ));
        }
        Ok(())
    }
}

fn is_base_image(image: &str) -> bool {
    ["${base_image}", "$base_image"].contains(&image.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::Dockerfile;

    fn parse(text: &str) -> Dockerfile {
        Dockerfile::parse("run.Dockerfile", text.into()).unwrap()
    }

    #[test]
    fn run_dockerfiles_3_3() {
        for (text, base, more, error) in [
            ("FROM r/x:1", Some("r/x:1"), false, None),
            (
                "# c\nARG base_image\nFROM ${base_image}\nRUN a \\\n # c\n  b\n",
                None,
                true,
                None,
            ),
            (
                "ARG base_image=x\nFROM --platform=linux/amd64 $base_image AS y\n",
                None,
                false,
                None,
            ),
            ("FROM a\nRUN <<EOT\nFROM b\nEOT\n", Some("a"), true, None),
            (
                "FROM a\nFROM b\n",
                Some("a"),
                false,
                Some("run.Dockerfile is not permitted to use multistage build"),
            ),
        ] {
            let file = parse(text);
            assert_eq!((file.base(), file.does_more()), (base, more), "{text}");
            assert_eq!(file.check_run(true).err().as_deref(), error, "{text}");
        }
        assert!(parse("FROM a\nRUN b\n").check_run(false).is_err());
        assert!(parse("FROM ${base_image}").check_run(false).is_err());
        assert!(parse("FROM a").check_run(false).is_ok());
        let unusual: Vec<_> = parse("FROM a\n\nEXPOSE 1\nWORKDIR /\n").unusual().collect();
        assert_eq!(unusual, [(3, "EXPOSE".to_owned())]);
    }

    #[test]
    fn what_is_no_dockerfile_is_told_with_its_line_3_3() {
        let error = Dockerfile::parse("run.Dockerfile", "FROM a\nRUM b\n".into()).unwrap_err();
        assert!(error.starts_with("run.Dockerfile:2:1: "), "{error}");
        assert!(Dockerfile::parse("run.Dockerfile", Vec::new()).is_err());
    }

    #[test]
    fn build_dockerfiles_start_with_the_base_image_3_3() {
        assert!(
            parse("ARG base_image\nFROM ${base_image}\nRUN x")
                .check_build()
                .is_ok()
        );
        for text in [
            "FROM ${base_image}",
            "ARG base_image\nFROM x",
            "ARG other\nFROM ${base_image}",
            "ARG base_image\nFROM ${base_image}\nFROM ${base_image}",
        ] {
            assert!(parse(text).check_build().is_err(), "{text}");
        }
    }
}
