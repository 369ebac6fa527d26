//! Files that lie elsewhere: on the web, in object stores and in git repositories.
//!
//! A [`Remote`] is made from a [`Web`](lifecycle_registry::Web), which brings proxies, certificate authorities, retry and
//! the rest of the transport that registries are spoken to with, from [`GitSettings`], and from [`StoreSettings`]. It has a blocking face.
//!
//! [`Remote::download`] brings one [`File`] into a file of ours, within a limit, and checks it against a digest if there is
//! one; [`Remote::upload`] is the way back. [`Remote::get`] and [`Remote::put`] do so with an [`Object`] of a store.
//! [`Remote::check_out`] brings the files of a [`Repository`] into a directory: by the program git where there is one, because
//! people's credentials, proxies and keys live in its configuration, but with everything switched off by which a repository
//! or an address could make git start a program or read this machine's files; else, as in a container that has nothing but
//! us, by the library `gix` over the same web that files come through. The trees are equal.
//!
//! Nothing here shows a password: not in errors, not in logs, not in arguments of programs.

mod checkout;
mod error;
mod git;
mod library;
mod object;
mod remote;
mod repository;
mod wanted;

pub use error::RemoteError;
pub use git::GitSettings;
pub use object::{Object, StoreSettings};
pub use remote::{Checkout, Download, File, Remote};
pub use repository::{Depth, GitAuthorization, Repository};
