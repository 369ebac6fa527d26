//! The build arguments of an extension's Dockerfile (DKF-01, DKF-02).

use lifecycle_image::Image;

use super::ExtendOptions;
use super::dockerfiles::ExtensionDockerfile;

/// All arguments; those that the lifecycle sets itself come last, so nothing beats them.
pub(super) fn of(
    options: &ExtendOptions,
    dockerfile: &ExtensionDockerfile,
    image: &Image,
    reference: &str,
) -> Vec<(String, String)> {
    let mut arguments = options.proxies.clone();
    arguments.extend(
        dockerfile
            .arguments
            .iter()
            .map(|argument| (argument.name.clone(), argument.value.clone())),
    );
    let (user, group) = user(image);
    let own = [
        ("base_image", reference),
        ("build_id", &options.build_id),
        ("user_id", user),
        ("group_id", group),
    ];
    arguments.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    arguments
}

/// User and group of an image, as its configuration writes them; a missing group is empty.
pub(super) fn user(image: &Image) -> (&str, &str) {
    let text = image.config().config.user.as_deref().unwrap_or_default();
    text.split_once(':').unwrap_or((text, ""))
}

/// Whether a user is root by its name or number.
pub(super) fn is_root(user: &str) -> bool {
    matches!(user, "0" | "root")
}
