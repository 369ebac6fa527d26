//! How commands are kept apart from this machine.

use lifecycle_image::Image;
use lifecycle_layers::{OpaqueXattr, Ownership, Refused, Whiteouts};
use lifecycle_sandbox::{EnterError, Entered, Host, Rung, enter, enter_with_one_id};
use lifecycle_store::TreeForm;

use crate::PlatformError;

/// The way commands are isolated in this process, chosen once.
#[derive(Debug, Clone)]
pub struct Isolation {
    rung: Rung,
    entered: Option<Entered>,
    host: Host,
}

impl Isolation {
    /// Takes the strongest rung that holds here, or the one that is asked for. An ordinary user's process becomes
    /// root of a user namespace by this, so it must not have started threads.
    ///
    /// `scratch` is a directory on the file system where roots will lie.
    ///
    /// # Errors
    /// When the rung that is asked for does not hold: with what is missing and what would grant it.
    pub fn choose(scratch: &std::path::Path, asked: Option<Rung>) -> Result<Self, PlatformError> {
        let host = Host::probe(scratch)?;
        let rung = match asked {
            None => host.rung(),
            Some(asked) => {
                let report = host.rungs().into_iter().find(|report| report.rung == asked);
                if let Some(report) = report.filter(|report| !report.holds()) {
                    return Err(PlatformError::Rung {
                        rung: asked,
                        missing: report.explain(),
                    });
                }
                asked
            }
        };
        let entered = match rung {
            Rung::SingleId if asked.is_some() => Some(enter_with_one_id()?),
            Rung::Overlay | Rung::Copy | Rung::SingleId => Some(enter()?),
            Rung::Chroot | Rung::InPlace => None,
        };
        Ok(Self { rung, entered, host })
    }

    /// The rung.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// What this process may do: what was found out, unless it entered a user namespace afterwards.
    pub fn host(&self) -> Option<&Host> {
        let has_changed = matches!(self.entered, Some(Entered::FullMap | Entered::SingleId { .. }));
        (!has_changed).then_some(&self.host)
    }

    /// How one command is run.
    pub fn of_command(&self) -> lifecycle_sandbox::Isolation {
        self.rung.isolation()
    }

    /// How the layers of a root are extracted: as an overlay of this process can use them.
    pub(crate) fn tree_form(&self) -> TreeForm<'static> {
        let privileged = matches!(self.entered, Some(Entered::Privileged));
        TreeForm {
            whiteouts: Whiteouts::Overlay(if privileged {
                OpaqueXattr::Trusted
            } else {
                OpaqueXattr::User
            }),
            ownership: self.ownership(),
            // An ordinary user cannot make devices, and no build needs those of a base image: /dev is mounted.
            refused: if privileged { Refused::Fail } else { Refused::Skip },
            ..TreeForm::default()
        }
    }

    /// Who owns the files of a root.
    pub(crate) fn ownership(&self) -> Ownership<'static> {
        match self.entered {
            Some(Entered::SingleId { .. }) => Ownership::Squash,
            _ if self.rung == Rung::InPlace => Ownership::Squash,
            _ => Ownership::Keep,
        }
    }

    /// Whether roots are overlays; otherwise they are unpacked anew for every command.
    pub(crate) fn has_overlay(&self) -> bool {
        self.rung == Rung::Overlay
    }

    /// Whether overlay's marks are in the user's attributes.
    pub(crate) fn user_xattr(&self) -> bool {
        !matches!(self.entered, Some(Entered::Privileged))
    }

    /// Refuses images whose programs this machine cannot run, before it says so in its own way (complaint 7).
    pub(crate) fn check_platform(image: &Image) -> Result<(), PlatformError> {
        let (own, host) = (image.platform(), lifecycle_image::Platform::host());
        if own.satisfies(&host) {
            Ok(())
        } else {
            Err(PlatformError::Platform {
                image: own.to_string(),
                host: host.to_string(),
            })
        }
    }
}

impl From<EnterError> for PlatformError {
    fn from(error: EnterError) -> Self {
        Self::Enter(error)
    }
}
