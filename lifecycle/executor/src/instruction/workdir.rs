//! WORKDIR: makes directories (G10).

use std::sync::Arc;

use lifecycle_sandbox::Users;

use crate::copy::contents::PlacedFiles;
use crate::copy::place::{Canvas, Manner};
use crate::error::StepError;
use crate::key::KeyMaker;
use crate::recorder::Definition;
use crate::reporter::StepName;
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
        let owner = if matches!(user, "" | "root" | "0" | "0:0" | "root:root") {
            lifecycle_layers::Owner::ROOT
        } else {
            let accounts = self.accounts()?;
            let account = Users::parse(&accounts.passwd, &accounts.group).resolve(user)?;
            lifecycle_layers::Owner::new(account.identity.uid, account.identity.gid)
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
        let index = contents.index();
        let contents = Arc::new(contents);
        let layer = self.pack(contents.clone());
        self.remember(definitions, true, Arc::clone(&layer), build.now);
        Ok(LayerStep {
            layer: StackLayer::copied(layer, contents, index),
            created: build.now,
            was_cached: false,
        })
    }
}
