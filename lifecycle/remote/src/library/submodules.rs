//! Submodules: repositories at places of another one, at a commit that it names.

use std::path::Path;

use fs_err as fs;
use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};
use gix::submodule::config::Update;

use super::directory::Directory;
use super::{Library, tree};
use crate::checkout::Order;
use crate::{GitSettings, RemoteError, Repository};

/// The file that names submodules.
const FILE: &str = ".gitmodules";

impl Library<'_> {
    /// Checks out the submodules of what lies here, and theirs.
    pub(super) fn check_out_submodules(
        &self,
        repository: &gix::Repository,
        commit: ObjectId,
        here: &Path,
        directory: &Directory,
    ) -> Result<(), RemoteError> {
        let places = tree::submodules(repository, commit).map_err(|error| self.failed(error))?;
        let Some((file, places)) = places else {
            return Ok(());
        };
        let configuration = gix::config::File::default();
        let file = gix::submodule::File::from_bytes(&file, here.join(FILE), &configuration)
            .map_err(|error| self.failed(error))?;
        for (path, commit) in places {
            let wrong = |what: &str| self.order.missing(format!("{what} for the submodule at {path}"));
            let name = file
                .name_by_path(path.as_bstr())
                .ok_or_else(|| wrong("address"))?;
            let name = gix::validate::submodule::name(name).map_err(|error| self.failed(error))?;
            match file.update(name).map_err(|error| self.failed(error))? {
                Some(Update::None) => continue,
                Some(Update::Command(_)) => return Err(wrong("ordinary way of update")),
                _ => {}
            }
            let (name_text, path) = (text(name), text(path.as_bstr()));
            let url = file.config().string(format!("submodule.{name}.url").as_str());
            let url = url.ok_or_else(|| wrong("address"))?;
            let url = self.order.address.resolve(&text(url.as_bstr()));
            let there = self.order.directory(here, &path)?;
            self.check_out_submodule(&url, commit, &there, &directory.of_submodule(&name_text))?;
            directory.add_submodule(&name_text, &url)?;
        }
        Ok(())
    }

    fn check_out_submodule(
        &self,
        url: &str,
        commit: ObjectId,
        there: &Path,
        own: &Path,
    ) -> Result<(), RemoteError> {
        // Never from this machine (CVE-2022-39253), and who we are is for our own host alone.
        let settings = GitSettings {
            local: false,
            authorization: None,
            ..self.order.settings.clone()
        };
        let repository = Repository {
            depth: self.order.repository.depth,
            ..Repository::new(url).at(Some(commit.to_string()))
        };
        let order = Order::new(&settings, &repository)?;
        let own_origin = self.order.authorization();
        let authorization = own_origin.filter(|(origin, _)| order.address.origin.as_deref() == Some(*origin));
        let repository = Repository {
            authorization: authorization.map(|(_, own)| own.clone()),
            ..repository.clone()
        };
        let order = Order::new(&settings, &repository)?;
        fs::create_dir_all(own).map_err(RemoteError::io("create", own))?;
        let library = Library {
            order: &order,
            web: self.web.clone(),
        };
        library.check_out_beside(there, own).map(drop)
    }
}

fn text(bytes: &BStr) -> String {
    bytes.to_str_lossy().into_owned()
}
