//! Ports of loopback for programs that cannot choose a free one by themselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

/// A port that nobody else gets by chance while the value lives, whether the program that it is for listens there already,
/// not yet, or for the moment no more. Connections are refused as long as it does not.
///
/// The kernel gives no port away that somebody is bound to; whoever names it may share it, as nobody listens here and both
/// sides reuse addresses, which every server does.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _bound: OwnedFd,
}

impl Port {
    /// A free one.
    pub(crate) fn reserve() -> Self {
        let flags = SocketFlags::CLOEXEC;
        let bound = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        sockopt::set_socket_reuseaddr(&bound, true).unwrap();
        bind(&bound, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let number = SocketAddr::try_from(getsockname(&bound).unwrap()).unwrap().port();
        Self {
            number,
            _bound: bound,
        }
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
