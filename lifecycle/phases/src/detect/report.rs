//! What came out of a detection.

use lifecycle_spec::{GroupToml, PlanToml};

/// The selected group.
#[derive(Debug, Clone)]
pub struct DetectReport {
    /// As written to `group.toml`.
    pub group: GroupToml,
    /// As written to `plan.toml`.
    pub plan: PlanToml,
    /// What every module said that was asked, selected or not, in the order in which they were asked.
    pub modules: Vec<ModuleOutcome>,
}

/// What one module said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleOutcome {
    /// The module as `id@version`.
    pub module: String,
    /// Whether it passed.
    pub verdict: Verdict,
    /// What its script printed; this is where buildpacks say what they looked for.
    pub output: Vec<u8>,
    /// Why it could not be judged by its exit code.
    pub reason: Option<String>,
}

/// How a module judged the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It wants it.
    Pass,
    /// It does not.
    Fail,
    /// Its script failed with an exit code other than 0 and 100, or none at all.
    Error(Option<i32>),
    /// It does not run on the run image, and was not asked (TGT-04, X-17).
    WrongTarget,
}
