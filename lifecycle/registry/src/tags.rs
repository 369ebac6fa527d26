//! Lists that come in pages.

use std::collections::BTreeSet;

use http::{Method, header};
use lifecycle_image::Repository;
use reqwest::Response;
use serde::Deserialize;
use url::Url;

use crate::Error;
use crate::transport::{Place, Request, Scopes, Target, Transport, shown};

/// Bytes that are read of one list: a million tags or so. A registry that sends more would never end.
const MAX_LIST: usize = 64 * 1024 * 1024;
/// Bytes of one page.
const MAX_PAGE: usize = 4 * 1024 * 1024;
/// Pages that are read of one list.
const MAX_PAGES: usize = 10_000;

#[derive(Deserialize)]
struct Page {
    /// Some registries write null for a repository without tags.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Transport {
    /// All tags of a repository.
    pub(crate) async fn tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        self.first(repository, |place| async move {
            let first = Target::Route("tags/list?n=1000".to_owned());
            let pages: Vec<Page> = self.pages(&place, first).await?;
            Ok(pages
                .into_iter()
                .flat_map(|page| page.tags.unwrap_or_default())
                .collect())
        })
        .await
    }

    /// The pages of a list (OCI distribution specification, "Listing Tags"; RFC 5988).
    pub(crate) async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        place: &Place,
        first: Target,
    ) -> Result<Vec<T>, Error> {
        let mut pages = Vec::new();
        let mut target = first;
        let mut read = BTreeSet::new();
        let mut left = MAX_LIST;
        loop {
            let request = Request::new(Method::GET, target, Scopes::pull(&place.path), &[200]);
            let response = self.send(place, &request).await?;
            let url = response.url().clone();
            let bad = |reason: String| Error::Malformed {
                url: shown(&url),
                reason,
            };
            let next = next_page(&response)?;
            let page = self.read_whole(response, MAX_PAGE).await?;
            let parsed = serde_json::from_slice(&page)
                .map_err(|error| bad(format!("it is not the list that was asked for: {error}")))?;
            pages.push(parsed);
            read.insert(url.clone());
            left = left
                .checked_sub(page.len())
                .filter(|_| pages.len() < MAX_PAGES)
                .ok_or_else(|| {
                    bad(format!(
                        "the list has no end: {} pages of it were read",
                        pages.len()
                    ))
                })?;
            match next {
                Some(next) if read.contains(&next) => {
                    return Err(bad("its next page has been read already".to_owned()));
                }
                Some(next) => target = Target::Url(next),
                None => return Ok(pages),
            }
        }
    }
}

/// The address of the next page. It has to be the registry's own: lists do not lead elsewhere.
fn next_page(response: &Response) -> Result<Option<Url>, Error> {
    let bad = |reason: &str| Error::Malformed {
        url: shown(response.url()),
        reason: reason.to_owned(),
    };
    let links = response.headers().get_all(header::LINK);
    let Some(target) = links
        .iter()
        .filter_map(|link| link.to_str().ok())
        .find_map(next_link)
    else {
        return Ok(None);
    };
    let url = response
        .url()
        .join(target)
        .map_err(|_| bad("the link to its next page is not an address"))?;
    // Behind a proxy that ends TLS a registry may get its scheme wrong; only path and query matter then.
    let mut own = response.url().clone();
    own.set_path(url.path());
    own.set_query(url.query());
    if url.host_str() != own.host_str() {
        return Err(bad("its next page is on another host"));
    }
    Ok(Some(own))
}

/// The target of a link whose relation is `next`.
pub(crate) fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_named_by_a_link() {
        for (header, expected) in [
            (
                r#"</v2/a/tags/list?n=2&last=b>; rel="next""#,
                Some("/v2/a/tags/list?n=2&last=b"),
            ),
            (r#"<x>; rel=prev, <y>; title="t"; rel=next"#, Some("y")),
            ("<x>", None),
            ("x; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_link_is_read(header in "\\PC{0,60}") {
            next_link(&header);
        }
    }
}
