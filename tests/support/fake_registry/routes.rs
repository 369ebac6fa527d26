//! The distribution protocol, as it should be.

use std::collections::BTreeMap;

use lifecycle_image::Digest;

use super::tokens::fields;
use super::wire::{Answer, Request};
use super::{Mount, State};

impl State {
    pub(super) fn answer(&mut self, request: &Request, body: &[u8]) -> Answer {
        let (method, target, headers) = (&*request.method, &*request.target, &request.headers);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = fields(query);
        if path == "/token" {
            return self.give_token(method, &query, headers, body);
        }
        let Some(route) = path.strip_prefix("/v2/") else {
            return error(404, "NOT_FOUND", "no such page");
        };
        if let Some(refusal) = self.refuse(method, route, &query, headers) {
            return refusal;
        }
        if route.is_empty() {
            return Answer::new(200).body("{}");
        }
        for part in [
            "/blobs/uploads/",
            "/blobs/",
            "/manifests/",
            "/tags/list",
            "/referrers/",
        ] {
            if let Some((repository, rest)) = route.split_once(part) {
                return match part {
                    "/blobs/uploads/" => self.upload(method, repository, rest, &query, headers, body),
                    "/blobs/" => self.give_blob(repository, rest, headers),
                    "/manifests/" => self.manifests(method, repository, rest, headers, body),
                    "/tags/list" => self.list_tags(repository, &query),
                    _ => self.list_referrers(repository, rest, &query),
                };
            }
        }
        error(404, "NOT_FOUND", "no such route")
    }

    fn give_blob(&self, repository: &str, digest: &str, headers: &BTreeMap<String, String>) -> Answer {
        let found = digest
            .parse()
            .ok()
            .and_then(|digest: Digest| self.blobs.get(&(repository.to_owned(), digest)));
        let Some(bytes) = found else {
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let start = headers
            .get("range")
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse::<usize>()
                    .ok()
            })
            .filter(|_| !self.options.no_ranges);
        match start {
            Some(start) if start < bytes.len() => Answer::new(206)
                .header(
                    "Content-Range",
                    format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
                )
                .body(&bytes[start..]),
            Some(_) => Answer::new(416),
            None => Answer::new(200).body(bytes.clone()),
        }
    }

    fn upload(
        &mut self,
        method: &str,
        repository: &str,
        id: &str,
        query: &[(String, String)],
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Answer {
        let given = |name: &str| {
            query
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value.as_str())
        };
        let prefix = self.options.locations.clone().unwrap_or_default();
        let location = |id: &str| format!("{prefix}/v2/{repository}/blobs/uploads/{id}?state=x");
        if method == "POST" {
            if let (Some(digest), Some(from)) = (given("mount"), given("from")) {
                let digest: Digest = digest.parse().unwrap();
                let found = self.blobs.get(&(from.to_owned(), digest.clone())).cloned();
                match (self.options.mount, found) {
                    (Mount::Created, Some(bytes)) => {
                        self.blobs.insert((repository.to_owned(), digest), bytes);
                        return Answer::new(201).header("Location", "/v2/done");
                    }
                    (Mount::Refused, _) => return error(405, "UNSUPPORTED", "no mounts"),
                    _ => {}
                }
            }
            self.counter += 1;
            let id = format!("session-{}", self.counter);
            self.sessions.insert(id.clone(), Vec::new());
            let answer = Answer::new(202).header("Location", location(&id));
            return match self.options.smallest_piece {
                Some(smallest) => answer.header("OCI-Chunk-Min-Length", smallest),
                None => answer,
            };
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
        };
        let range = |length: usize| format!("0-{}", length.max(1) - 1);
        match method {
            "GET" => Answer::new(204)
                .header("Range", range(session.len()))
                .header("Location", location(id)),
            "DELETE" => {
                self.sessions.remove(id);
                Answer::new(204)
            }
            "PATCH" => {
                let start = headers
                    .get("content-range")
                    .and_then(|range| range.split('-').next()?.parse().ok());
                if start.is_some_and(|start: usize| start != session.len()) {
                    return error(416, "RANGE_INVALID", "out of order").header("Range", range(session.len()));
                }
                session.extend_from_slice(body);
                Answer::new(202)
                    .header("Range", range(session.len()))
                    .header("Location", location(id))
            }
            "PUT" => {
                session.extend_from_slice(body);
                let digest: Digest = given("digest").unwrap().parse().unwrap();
                let bytes = self.sessions.remove(id).unwrap();
                let actual = Digest::of(&bytes);
                if actual != digest {
                    return error(400, "DIGEST_INVALID", "the digest is not that of the content");
                }
                self.blobs.insert((repository.to_owned(), digest), bytes);
                Answer::new(201).header("Docker-Content-Digest", actual)
            }
            _ => error(405, "UNSUPPORTED", "no such method"),
        }
    }

    fn manifests(
        &mut self,
        method: &str,
        repository: &str,
        name: &str,
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Answer {
        let key = (repository.to_owned(), name.to_owned());
        match method {
            "PUT" => {
                let digest = self.keep_manifest(repository, name, &headers["content-type"], body);
                let answer = Answer::new(201).header("Docker-Content-Digest", &digest);
                match subject(body) {
                    Some(subject) if self.options.referrers => answer.header("OCI-Subject", subject),
                    _ => answer,
                }
            }
            "DELETE" => match self.manifests.remove(&key) {
                Some((_, bytes)) => {
                    self.manifests
                        .retain(|(other, _), (_, kept)| other != repository || *kept != bytes);
                    Answer::new(202)
                }
                None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            },
            _ => match self.manifests.get(&key) {
                Some((media_type, bytes)) => {
                    let answer = Answer::new(200)
                        .header("Content-Type", media_type)
                        .body(bytes.clone());
                    if self.options.no_digest_header {
                        return answer;
                    }
                    answer.header("Docker-Content-Digest", Digest::of(bytes))
                }
                None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            },
        }
    }

    fn list_tags(&mut self, repository: &str, query: &[(String, String)]) -> Answer {
        if let Some(length) = self.options.endless {
            self.counter += 1;
            let link = format!("</v2/{repository}/tags/list?last={}>; rel=\"next\"", self.counter);
            let body = format!(r#"{{"tags":["{}"]}}"#, "t".repeat(length));
            return Answer::new(200).body(body).header("Link", link);
        }
        let Some(tags) = self.tags.get(repository) else {
            return error(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        let last = query
            .iter()
            .find(|(name, _)| name == "last")
            .map(|(_, value)| value);
        let after = last
            .and_then(|last| tags.iter().position(|tag| tag == last))
            .map_or(0, |place| place + 1);
        let page = self.options.page.unwrap_or(usize::MAX);
        let shown: Vec<&String> = tags.iter().skip(after).take(page).collect();
        let list: Vec<String> = shown.iter().map(|tag| format!("\"{tag}\"")).collect();
        let answer = Answer::new(200).body(format!(
            r#"{{"name":"{repository}","tags":[{}]}}"#,
            list.join(",")
        ));
        match shown.last() {
            Some(last) if after + shown.len() < tags.len() => {
                let link = format!("</v2/{repository}/tags/list?n={page}&last={last}>; rel=\"next\"");
                answer.header("Link", link)
            }
            _ => answer,
        }
    }

    fn list_referrers(&self, repository: &str, digest: &str, query: &[(String, String)]) -> Answer {
        if !self.options.referrers {
            return error(404, "NOT_FOUND", "no such route");
        }
        let wanted = query
            .iter()
            .find(|(name, _)| name == "artifactType")
            .map(|(_, value)| value.as_str());
        let mut members = Vec::new();
        for ((other, name), (media_type, bytes)) in &self.manifests {
            if other != repository || !name.contains(':') || subject(bytes).as_deref() != Some(digest) {
                continue;
            }
            let kind = text_field(bytes, "artifactType").unwrap_or_default();
            if wanted.is_none_or(|wanted| wanted == kind) {
                members.push(format!(
                    r#"{{"mediaType":"{media_type}","digest":"{name}","size":{},"artifactType":"{kind}"}}"#,
                    bytes.len()
                ));
            }
        }
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
            members.join(",")
        );
        Answer::new(200)
            .header("Content-Type", "application/vnd.oci.image.index.v1+json")
            .body(body)
    }
}

/// An error as the protocol has them.
pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    Answer::new(status)
        .header("Content-Type", "application/json")
        .body(body)
}

/// The digest of a manifest's subject. Read by hand: what is tested reads JSON with a library.
fn subject(manifest: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(manifest).ok()?;
    let (_, rest) = text.split_once("\"subject\":")?;
    text_field(rest.as_bytes(), "digest")
}

fn text_field(document: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
    Some(rest.split('"').next()?.to_owned())
}
