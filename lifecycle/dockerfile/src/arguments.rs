//! Build arguments and the variables of the global scope (section E).

use std::collections::{BTreeMap, BTreeSet};

use lifecycle_diagnostics::Diagnostic;

use crate::environment::Environment;
use crate::expand::Expander;
use crate::fault::expansion_fault;
use crate::instruction::{ArgDefinition, Command, Instruction};
use crate::platform::Platforms;

/// The values given with `--build-arg`. Those that nothing uses are ignored (E6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildArgs(BTreeMap<String, String>);

impl BuildArgs {
    /// The value of an argument, if one was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All arguments that were given, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The predefined proxy variables that were given (E7), for RUN only: each in the upper and the lower case
    /// name. They belong neither to cache key nor to configuration or history.
    pub fn proxies(&self) -> Vec<(String, String)> {
        const NAMES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];
        let mut proxies = BTreeMap::new();
        for (name, value) in &self.0 {
            let lower = name.to_lowercase();
            if NAMES.contains(&lower.as_str()) {
                proxies.insert(lower.to_uppercase(), value.clone());
                proxies.insert(lower, value.clone());
            }
        }
        proxies.into_iter().collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for BuildArgs {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(values: I) -> Self {
        Self(
            values
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Arguments that steer the build and never reach the environment, declared or not (E9).
pub(crate) fn is_control_argument(name: &str) -> bool {
    matches!(name, "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
}

/// What FROM lines and stages can take from the top of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Globals {
    /// Platform ARGs and ARGs before the first FROM, with their values.
    pub(crate) values: Environment,
    /// Every name that was declared, with a value or not.
    pub(crate) declared: BTreeMap<String, GlobalArg>,
}

/// An ARG before the first FROM.
#[derive(Debug, Clone)]
pub(crate) struct GlobalArg {
    pub(crate) definition: ArgDefinition,
    pub(crate) value: Option<String>,
    /// Other variables its default uses.
    pub(crate) uses: BTreeSet<String>,
}

impl Globals {
    /// The platform ARGs and TARGETSTAGE, each replaced by a build argument of its name (E8).
    pub(crate) fn predefined(platforms: &Platforms, target_stage: &str, build_args: &BuildArgs) -> Self {
        let (build, target) = (&platforms.build, &platforms.target);
        let stage = if target_stage.is_empty() {
            "default"
        } else {
            target_stage
        };
        // The build platform is shown without its version.
        let build_name = crate::platform::Platform {
            os_version: String::new(),
            ..build.clone()
        }
        .to_string();
        let mut values = Environment::default();
        for (name, value) in [
            ("BUILDPLATFORM", build_name),
            ("BUILDOS", build.os.clone()),
            ("BUILDOSVERSION", build.os_version.clone()),
            ("BUILDARCH", build.architecture.clone()),
            ("BUILDVARIANT", build.variant.clone()),
            ("TARGETPLATFORM", target.to_string()),
            ("TARGETOS", target.os.clone()),
            ("TARGETOSVERSION", target.os_version.clone()),
            ("TARGETARCH", target.architecture.clone()),
            ("TARGETVARIANT", target.variant.clone()),
            ("TARGETSTAGE", stage.to_owned()),
        ] {
            let given = build_args.get(name).map(str::to_owned);
            values.set(name, given.unwrap_or(value));
        }
        Self {
            values,
            declared: BTreeMap::new(),
        }
    }

    /// Adds the ARGs before the first FROM in order: the build argument, else the default, which sees the earlier
    /// ones (E1).
    pub(crate) fn declare(
        mut self,
        instructions: &[Instruction],
        expander: Expander,
        build_args: &BuildArgs,
    ) -> Result<Self, Diagnostic> {
        for instruction in instructions {
            let Command::Arg(definitions) = &instruction.command else {
                continue;
            };
            for definition in definitions {
                self.declare_one(definition, expander, build_args)?;
            }
        }
        Ok(self)
    }

    fn declare_one(
        &mut self,
        definition: &ArgDefinition,
        expander: Expander,
        build_args: &BuildArgs,
    ) -> Result<(), Diagnostic> {
        let name = &definition.name;
        let mut uses = BTreeSet::new();
        let value = match (build_args.get(name), &definition.default) {
            (Some(given), _) => Some(given.to_owned()),
            (None, None) => None,
            (None, Some(default)) => {
                let expansion = expander
                    .text(&default.text, &self.values)
                    .map_err(|error| expansion_fault(&error, default))?;
                uses = expansion.used;
                // A default that extends the earlier value depends on what that one depended on.
                if uses.remove(name)
                    && let Some(earlier) = self.declared.get(name)
                {
                    uses.extend(earlier.uses.iter().cloned());
                }
                Some(expansion.text)
            }
        };
        if let Some(value) = &value {
            self.values.set(name.clone(), value.clone());
        }
        self.declared.insert(
            name.clone(),
            GlobalArg {
                definition: definition.clone(),
                value,
                uses,
            },
        );
        Ok(())
    }
}
