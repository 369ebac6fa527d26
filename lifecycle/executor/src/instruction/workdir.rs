//! WORKDIR: makes directories (G10).

use std::sync::Arc;

use lifecycle_layers::Owner;

use crate::copy::contents::PlacedFiles;
use crate::copy::place::{Canvas, Manner};
use crate::error::StepError;
use crate::key::KeyMaker;
use crate::recorder::Definition;
use crate::reporter::{StepName, StepOutcome};
use crate::stack::StackLayer;
use crate::stage::{LayerStep, StageRunner};

impl StageRunner<'_> {
    /// Makes `path` with what is missing above it, all with mode 0755 and owned by the user in force. What exists is
    /// left as it is, and the layer is empty then.
    pub(crate) fn make_workdir(
        &mut self,
        path: &str,
        user: &str,
        name: &StepName,
    ) -> Result<LayerStep, StepError> {
        let build = self.build;
        let mut key = KeyMaker::new("WORKDIR");
        key.add(path)
            .add(user)
            .optional(build.epoch.map(i64::to_le_bytes));
        let definitions = vec![Definition::new(key)];
        if let Some(earlier) = self.earlier(&definitions, true)? {
            return Ok(earlier);
        }
        // As `--chown` reads it, and not as RUN does: a number is the group as well. Root is root without a look.
        let owner = match user {
            "root" | "root:root" => Owner::ROOT,
            user => self.owner(user, false)?,
        };
        let below = self.names()?;
        let manner = Manner {
            owner: Some(owner),
            chmod: None,
            now: build.now,
        };
        let mut canvas = Canvas::new(&below, manner);
        canvas.make(path)?;
        let contents = PlacedFiles::new(name.text.clone(), canvas.finish(), build.epoch, Vec::new());
        let contents = Arc::new(contents);
        let layer = self.pack(contents.clone());
        self.remember(definitions, true, Arc::clone(&layer), build.now);
        Ok(LayerStep {
            layer: StackLayer::copied(layer, contents),
            created: build.now,
            outcome: StepOutcome::Done,
            used: Vec::new(),
        })
    }
}
