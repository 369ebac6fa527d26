//! Registries as they are, and as they should not be: the protocol against a registry that can be told to fail, and
//! against Debian's docker-registry with other people's clients as judges.

#[cfg(test)]
#[path = "../../../../tests/support/certificates.rs"]
mod certificates;
#[cfg(test)]
#[path = "../../../../tests/support/executable.rs"]
#[expect(dead_code, reason = "shared with tests that copy programs")]
mod executable;
#[cfg(test)]
#[path = "../../../../tests/support/fake_registry/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with the acceptance tests, which use other parts of it"
)]
#[expect(unreachable_pub, reason = "a module file that several test programs include")]
mod fake_registry;
#[cfg(test)]
#[path = "../../../../tests/support/port.rs"]
mod port;
#[cfg(test)]
#[path = "../../../../tests/support/proxy.rs"]
mod proxy;
#[cfg(test)]
#[path = "../../../../tests/support/tls_front.rs"]
mod tls_front;
#[cfg(test)]
#[path = "../../../../tests/support/wire.rs"]
mod wire;

#[cfg(test)]
mod auth;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod holdings;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod pull;
#[cfg(test)]
mod push;
#[cfg(test)]
mod real;
#[cfg(test)]
mod referrers;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod security;
