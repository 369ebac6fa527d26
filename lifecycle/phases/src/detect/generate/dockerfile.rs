//! As much of a Dockerfile as says which image an extension wants (cnb.md 3.3). The extender reads all of it.

/// Instructions that are meant to be used.
const USUAL: [&str; 9] = [
    "ADD", "ARG", "COPY", "ENV", "FROM", "LABEL", "RUN", "SHELL", "USER",
];

/// The instructions of a Dockerfile.
#[derive(Debug)]
pub(crate) struct Dockerfile {
    instructions: Vec<Instruction>,
}

#[derive(Debug)]
struct Instruction {
    line: usize,
    word: String,
    arguments: String,
}

impl Dockerfile {
    /// Cuts a text into instructions: comments are left out, continued lines are joined, heredocs are skipped.
    pub(crate) fn parse(text: &str) -> Self {
        let mut instructions = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((at, first)) = lines.next() {
            let mut logical = String::new();
            let mut current = Some(first);
            while let Some(line) = current {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    if logical.is_empty() {
                        break;
                    }
                } else if let Some(begun) = line.strip_suffix('\\') {
                    logical.push_str(begun);
                    logical.push(' ');
                } else {
                    logical.push_str(line);
                    break;
                }
                current = lines.next().map(|(_, line)| line);
            }
            let Some((word, arguments)) = logical.trim().split_once(char::is_whitespace).or_else(|| {
                let word = logical.trim();
                (!word.is_empty()).then_some((word, ""))
            }) else {
                continue;
            };
            let (word, arguments) = (word.to_uppercase(), arguments.trim().to_owned());
            for end in heredocs(&word, &arguments) {
                lines.by_ref().find(|(_, line)| line.trim() == end);
            }
            instructions.push(Instruction {
                line: at + 1,
                word,
                arguments,
            });
        }
        Self { instructions }
    }

    /// The base image, unless it is the one that is given.
    pub(crate) fn base(&self) -> Option<&str> {
        let image = self.froms().next()?.image();
        (!is_base_image(image)).then_some(image)
    }

    /// Whether there is more than a base image.
    pub(crate) fn does_more(&self) -> bool {
        let from = self
            .instructions
            .iter()
            .position(|instruction| instruction.word == "FROM");
        from.is_none_or(|from| from + 1 < self.instructions.len())
    }

    /// Instructions that should not be used, with their lines.
    pub(crate) fn unusual(&self) -> impl Iterator<Item = (usize, &str)> {
        let unusual = |instruction: &&Instruction| {
            !USUAL.contains(&instruction.word.as_str()) && instruction.word != "WORKDIR"
        };
        self.instructions
            .iter()
            .filter(unusual)
            .map(|instruction| (instruction.line, instruction.word.as_str()))
    }

    /// The rules of a `run.Dockerfile`.
    pub(crate) fn check_run(&self, may_extend: bool) -> Result<(), String> {
        match self.froms().count() {
            0 => return Err("run.Dockerfile has no FROM".to_owned()),
            1 => {}
            _ => return Err("run.Dockerfile is not permitted to use multistage build".to_owned()),
        }
        if !may_extend && (self.does_more() || self.base().is_none()) {
            return Err("run.Dockerfile may only switch the run image with FROM: its Buildpack API and the Platform API cannot extend it".to_owned());
        }
        Ok(())
    }

    /// The rules of a `build.Dockerfile`.
    pub(crate) fn check_build(&self) -> Result<(), String> {
        let wrong =
            || "build.Dockerfile must start with `ARG base_image` and `FROM ${base_image}`".to_owned();
        if self.froms().count() > 1 {
            return Err("build.Dockerfile is not permitted to use multistage build".to_owned());
        }
        match self.instructions.as_slice() {
            [arg, from, ..]
                if arg.word == "ARG"
                    && arg.arguments.split('=').next() == Some("base_image")
                    && from.word == "FROM"
                    && is_base_image(from.image()) =>
            {
                Ok(())
            }
            _ => Err(wrong()),
        }
    }

    fn froms(&self) -> impl Iterator<Item = &Instruction> {
        self.instructions
            .iter()
            .filter(|instruction| instruction.word == "FROM")
    }
}

impl Instruction {
    /// What a FROM names, without its flags and its stage name.
    fn image(&self) -> &str {
        self.arguments
            .split_whitespace()
            .find(|word| !word.starts_with("--"))
            .unwrap_or_default()
    }
}

fn is_base_image(image: &str) -> bool {
    ["${base_image}", "$base_image"].contains(&image.trim_matches('"'))
}

/// The words that end an instruction's heredocs.
fn heredocs<'a>(word: &str, arguments: &'a str) -> Vec<&'a str> {
    if !["ADD", "COPY", "RUN"].contains(&word) {
        return Vec::new();
    }
    let end = |word: &'a str| {
        let name = word
            .strip_prefix("<<")?
            .trim_start_matches('-')
            .trim_matches(['"', '\'']);
        (!name.is_empty()).then_some(name)
    };
    arguments.split_whitespace().filter_map(end).collect()
}

#[cfg(test)]
mod tests {
    use super::Dockerfile;

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
                true,
                Some("run.Dockerfile is not permitted to use multistage build"),
            ),
            ("", None, true, Some("run.Dockerfile has no FROM")),
        ] {
            let file = Dockerfile::parse(text);
            assert_eq!((file.base(), file.does_more()), (base, more), "{text}");
            assert_eq!(file.check_run(true).err().as_deref(), error, "{text}");
        }
        assert!(Dockerfile::parse("FROM a\nRUN b\n").check_run(false).is_err());
        assert!(Dockerfile::parse("FROM ${base_image}").check_run(false).is_err());
        assert!(Dockerfile::parse("FROM a").check_run(false).is_ok());
        let unusual: Vec<_> = Dockerfile::parse("FROM a\n\nEXPOSE 1\nWORKDIR /\n")
            .unusual()
            .map(|(line, word)| (line, word.to_owned()))
            .collect();
        assert_eq!(unusual, [(3, "EXPOSE".to_owned())]);
    }

    #[test]
    fn build_dockerfiles_start_with_the_base_image_3_3() {
        assert!(
            Dockerfile::parse("ARG base_image\nFROM ${base_image}\nRUN x")
                .check_build()
                .is_ok()
        );
        for text in [
            "FROM ${base_image}",
            "ARG base_image\nFROM x",
            "ARG other\nFROM ${base_image}",
            "",
        ] {
            assert!(Dockerfile::parse(text).check_build().is_err(), "{text}");
        }
    }
}
