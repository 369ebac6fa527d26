//! What the server answers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::World;
use super::wire::Request;

/// What a request is answered with.
pub(super) enum Answer {
    Object(u16, Value),
    Watch(Watch),
    Log(Log),
    Exec(Exec),
}

/// A watch, from a version on.
pub(super) struct Watch {
    pub(super) version: u64,
    kind: &'static str,
    selector: Selector,
}

impl Watch {
    pub(super) fn wants(&self, object: &Value) -> bool {
        object["kind"] == self.kind && self.selector.wants(object)
    }
}

/// A log, from a second on.
pub(super) struct Log {
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) follow: bool,
    since: String,
    timestamps: bool,
}

impl Log {
    /// The line as it is sent, if it is.
    pub(super) fn wants(&self, line: &str) -> Option<String> {
        // To the second, as the server does it.
        let is_new = self.since.is_empty() || line[..19] >= self.since[..19];
        let (_, text) = line.split_once(' ').unwrap();
        is_new.then(|| {
            if self.timestamps {
                line.to_owned()
            } else {
                text.to_owned()
            }
        })
    }
}

/// A receiver in a pod.
pub(super) struct Exec {
    pub(super) size: usize,
}

/// Which objects of a kind.
#[derive(Default)]
struct Selector {
    labels: Vec<(String, Option<String>)>,
    name: Option<String>,
    about: Option<String>,
}

impl Selector {
    fn of(query: &BTreeMap<String, String>) -> Self {
        let pair = |text: &str| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        };
        let list = |key: &str| -> Vec<(String, Option<String>)> {
            let text = query.get(key).map(String::as_str).unwrap_or_default();
            text.split(',')
                .filter(|part| !part.is_empty())
                .map(pair)
                .collect()
        };
        let fields = list("fieldSelector");
        let field = |name: &str| {
            fields
                .iter()
                .find(|(key, _)| key == name)
                .and_then(|(_, value)| value.clone())
        };
        Self {
            labels: list("labelSelector"),
            name: field("metadata.name"),
            about: field("involvedObject.name"),
        }
    }

    fn wants(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|(key, value)| match value {
            Some(value) => labels[key] == value.as_str(),
            None => labels[key].is_string(),
        }) && self
            .name
            .as_ref()
            .is_none_or(|name| object["metadata"]["name"] == name.as_str())
            && self
                .about
                .as_ref()
                .is_none_or(|name| object["involvedObject"]["name"] == name.as_str())
    }
}

/// A `Status` object.
pub(super) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

/// Changes a document as a merge patch does (RFC 7396).
pub(super) fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            document.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut document[key], change);
        }
    }
}

pub(super) fn route(request: &Request, body: &Value, world: &mut World) -> Answer {
    let target = request.target.as_str();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), unescape(value)))
        .collect();
    let refuse = |code, reason: &str, message: &str| Answer::Object(code, failure(code, reason, message));
    let sent = request.headers.get("authorization").map(String::as_str);
    let token = sent.and_then(|sent| sent.strip_prefix("Bearer "));
    if world.token.is_some() && world.token.as_deref() != token {
        return refuse(401, "Unauthorized", "Unauthorized");
    }
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["version"] => Answer::Object(200, version()),
        [.., "selfsubjectaccessreviews"] => {
            let asked = &body["spec"]["resourceAttributes"];
            let part = |key: &str| asked[key].as_str().unwrap_or_default();
            let mut what = format!("{} {}", part("verb"), part("resource"));
            if !part("subresource").is_empty() {
                what = format!("{what}/{}", part("subresource"));
            }
            let mut answer = body.clone();
            answer["status"] = json!({ "allowed": !world.forbidden.contains(&what) });
            Answer::Object(201, answer)
        }
        words if namespace(words).is_some_and(|(namespace, _)| namespace != "builds") => {
            let (namespace, resource) = namespace(words).unwrap();
            let message = format!("namespaces \"{namespace}\" not found");
            // Only making something in it shows that a namespace is missing.
            if request.method == "POST" {
                let mut status = failure(404, "NotFound", &message);
                status["details"] = json!({ "name": namespace, "kind": "namespaces" });
                Answer::Object(404, status)
            } else {
                Answer::Object(200, list(resource, Vec::new(), world.version))
            }
        }
        [.., "namespaces", _, "pods", pod, "log"] => Answer::Log(Log {
            pod: (*pod).to_owned(),
            container: query.get("container").cloned().unwrap_or_default(),
            follow: query.get("follow").is_some_and(|follow| follow == "true"),
            since: query.get("sinceTime").cloned().unwrap_or_default(),
            timestamps: query
                .get("timestamps")
                .is_some_and(|timestamps| timestamps == "true"),
        }),
        [.., "namespaces", _, "pods", _, "exec"] => {
            if world.forbidden.contains(&"create pods/exec".to_owned()) {
                return refuse(
                    403,
                    "Forbidden",
                    "User \"u\" cannot create resource \"pods/exec\"",
                );
            }
            let words: Vec<String> = target
                .split(['?', '&'])
                .filter_map(|pair| pair.strip_prefix("command="))
                .map(unescape)
                .collect();
            let size = words.iter().position(|word| word == "--size").unwrap();
            Answer::Exec(Exec {
                size: words[size + 1].parse().unwrap(),
            })
        }
        [.., "namespaces", _, resource] => collection(&request.method, body, world, resource, &query),
        [.., "namespaces", _, resource, name] => single(&request.method, body, world, resource, name),
        _ => refuse(404, "NotFound", &format!("there is no {path}")),
    }
}

/// The namespace of a path, and what is asked for in it.
fn namespace<'a>(words: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let at = words.iter().position(|word| *word == "namespaces")?;
    Some((words.get(at + 1)?, words.get(at + 2)?))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "",
    })
}

fn kind(resource: &str) -> &'static str {
    match resource {
        "jobs" => "Job",
        "pods" => "Pod",
        "secrets" => "Secret",
        "events" => "Event",
        "persistentvolumeclaims" => "PersistentVolumeClaim",
        "resourcequotas" => "ResourceQuota",
        other => panic!("the fake cluster has no {other}"),
    }
}

fn list(resource: &str, items: Vec<Value>, version: u64) -> Value {
    let group = if resource == "jobs" { "batch/v1" } else { "v1" };
    json!({
        "apiVersion": group, "kind": format!("{}List", kind(resource)),
        "metadata": {"resourceVersion": version.to_string()}, "items": items,
    })
}

fn forbidden(world: &World, verb: &str, resource: &str) -> Option<Answer> {
    let what = format!("{verb} {resource}");
    world.forbidden.contains(&what).then(|| {
        let message = format!(
            "{resource} is forbidden: User \"system:serviceaccount:ci:bot\" cannot {verb} resource \"{resource}\" in the namespace \"builds\""
        );
        Answer::Object(403, failure(403, "Forbidden", &message))
    })
}

fn collection(
    method: &str,
    body: &Value,
    world: &mut World,
    resource: &str,
    query: &BTreeMap<String, String>,
) -> Answer {
    let selector = Selector::of(query);
    if method == "GET" && query.get("watch").is_some_and(|watch| watch == "true") {
        let version = query
            .get("resourceVersion")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let oldest = world.history.first().map_or(0, |(version, ..)| *version);
        if version + 1 < oldest
            && world
                .history
                .first()
                .is_some_and(|(_, kind, _)| *kind == "BOOKMARK")
        {
            return Answer::Object(410, failure(410, "Expired", "too old resource version"));
        }
        return Answer::Watch(Watch {
            version,
            kind: kind(resource),
            selector,
        });
    }
    if method == "GET" {
        if let Some(refused) = forbidden(world, "list", resource) {
            return refused;
        }
        let items = world
            .of(resource)
            .filter(|object| selector.wants(object))
            .cloned()
            .collect();
        return Answer::Object(200, list(resource, items, world.version));
    }
    if let Some(refused) = forbidden(world, "create", resource) {
        return refused;
    }
    let mut object = body.clone();
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if query.get("dryRun").is_some() {
        return Answer::Object(201, object);
    }
    if world.object(resource, &name).is_some() {
        let message = format!("{resource} \"{name}\" already exists");
        return Answer::Object(409, failure(409, "AlreadyExists", &message));
    }
    object["metadata"]["uid"] = json!(format!("uid-{name}"));
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    object["kind"] = json!(kind(resource));
    Answer::Object(201, world.put(resource, object))
}

fn single(method: &str, body: &Value, world: &mut World, resource: &str, name: &str) -> Answer {
    let verb = match method {
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    };
    if let Some(refused) = forbidden(world, verb, resource) {
        return refused;
    }
    let Some(mut object) = world.object(resource, name).cloned() else {
        let mut status = failure(404, "NotFound", &format!("{resource} \"{name}\" not found"));
        status["details"] = json!({ "name": name, "kind": resource });
        return Answer::Object(404, status);
    };
    match verb {
        "patch" => {
            merge(&mut object, body);
            Answer::Object(200, world.put(resource, object))
        }
        "delete" => {
            // The garbage collector takes what belongs to the object.
            let uid = object["metadata"]["uid"].clone();
            world.remove(resource, name);
            let mut belonging: Vec<(&str, String)> = Vec::new();
            let owned = world
                .of("secrets")
                .filter(|secret| secret["metadata"]["ownerReferences"][0]["uid"] == uid);
            belonging.extend(
                owned.map(|secret| ("secrets", secret["metadata"]["name"].as_str().unwrap().to_owned())),
            );
            let pods = world
                .of("pods")
                .filter(|pod| pod["metadata"]["labels"]["lifecycle.build/id"] == name);
            belonging.extend(pods.map(|pod| ("pods", pod["metadata"]["name"].as_str().unwrap().to_owned())));
            for (resource, name) in belonging {
                world.remove(resource, &name);
            }
            Answer::Object(
                200,
                json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"}),
            )
        }
        _ => Answer::Object(200, object),
    }
}

/// Undoes what URLs do to text.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                let hex = String::from_utf8(hex).unwrap();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
