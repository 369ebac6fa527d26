//! Images in a docker or podman daemon, through its socket.
//!
//! A [`Daemon`] is a source and a sink of images like any other: reading asks the daemon what an image is and fetches
//! no layer; writing streams an archive as `docker load` takes it. Layers that the daemon has are left out of the
//! archive, since it does not read them. Whoever needs the bytes of a layer gets the image saved to a temporary file
//! first, once.
//!
//! One connection is opened at the start and kept: phases begin as root, who may use the socket, and go on as
//! somebody who may not. Requests take turns on it.

mod address;
mod connection;
mod daemon;
mod inspect;
mod layer;
mod load;
mod ssh;
mod tls;

pub use address::{Address, AddressError};
pub use daemon::{Daemon, DaemonError};
pub use ssh::Ssh;
pub use tls::{Tls, TlsError, TlsFiles};
