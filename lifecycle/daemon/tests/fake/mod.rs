//! As much of a daemon's interface as a lifecycle uses, on threads and sockets of the standard library.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lifecycle_daemon::{Address, Daemon};
use lifecycle_image::{DiffId, Digest};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// How it behaves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// It does not do without layers that it has.
    pub(crate) wants_all: bool,
    /// It has no room for images.
    pub(crate) full: bool,
    /// It closes the connection after each answer, without saying so.
    pub(crate) closes: bool,
}

/// What was loaded: the configuration, its bytes, the layers.
type Loaded = (Value, Vec<u8>, Vec<Vec<u8>>);

#[derive(Debug, Default)]
struct State {
    tags: BTreeMap<String, String>,
    /// By id.
    images: BTreeMap<String, Loaded>,
    seen: Vec<String>,
    /// How many connections have ended on this side.
    closed: usize,
}

#[derive(Debug)]
pub(crate) struct FakeDaemon {
    directory: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

impl FakeDaemon {
    pub(crate) fn start(manner: Manner) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || {
                    serve(stream, &state, manner);
                    state.lock().unwrap().closed += 1;
                });
            }
        });
        Self { directory, state }
    }

    /// The same on a network, with TLS.
    pub(crate) fn start_with_tls(config: ServerConfig) -> (Self, Address) {
        let fake = Self::start(Manner::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let (state, config) = (Arc::clone(&fake.state), Arc::new(config));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = StreamOwned::new(connection, stream);
                let state = Arc::clone(&state);
                thread::spawn(move || serve(stream, &state, Manner::default()));
            }
        });
        (fake, Address::parse(&address).unwrap())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.socket())
    }

    pub(crate) fn connect(&self) -> Daemon {
        Daemon::connect(&self.address(), None, self.directory.path()).unwrap()
    }

    pub(crate) fn tags(&self) -> Vec<String> {
        self.state.lock().unwrap().tags.keys().cloned().collect()
    }

    /// Waits until a connection has been closed on this side.
    pub(crate) fn wait_until_closed(&self) {
        while self.state.lock().unwrap().closed == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many requests had this in their path.
    pub(crate) fn count(&self, part: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|path| path.contains(part)).count()
    }
}

fn serve(stream: impl Read + Write, state: &Mutex<State>, manner: Manner) {
    let mut reader = BufReader::new(stream);
    while let Some((path, body)) = request(&mut reader) {
        let writer = reader.get_mut();
        let (status, answer) = answer(&path, &body, &mut state.lock().unwrap(), manner);
        // One half in chunks, the other with a length.
        let head = format!("HTTP/1.1 {status} X\r\nApi-Version: 1.41\r\n");
        let sent = if answer.len() % 2 == 0 {
            write!(writer, "{head}Content-Length: {}\r\n\r\n", answer.len())
                .and_then(|()| writer.write_all(&answer))
        } else {
            write!(
                writer,
                "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                answer.len()
            )
            .and_then(|()| writer.write_all(&answer))
            .and_then(|()| writer.write_all(b"\r\n0\r\n\r\n"))
        };
        if sent.and_then(|()| writer.flush()).is_err() || manner.closes {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|count| *count > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut chunked = false;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        chunked |= line.trim().eq_ignore_ascii_case("transfer-encoding: chunked");
    }
    let mut body = Vec::new();
    while chunked {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..length]);
        chunked = length > 0;
    }
    Some((path, body))
}

fn answer(path: &str, body: &[u8], state: &mut State, manner: Manner) -> (u16, Vec<u8>) {
    state.seen.push(path.to_owned());
    let refused = |status, message: &str| (status, json!({ "message": message }).to_string().into_bytes());
    let path = path.split('?').next().unwrap();
    if path == "/_ping" {
        return (200, b"OK".to_vec());
    }
    if path == "/images/load" {
        // What goes wrong is told in the stream, as docker does.
        let told = match load(body, state, manner) {
            Ok(()) => json!({ "stream": "Loaded\n" }),
            Err(message) => json!({ "errorDetail": { "message": message }, "error": message }),
        };
        return (200, format!("{}\n{told}\n", json!({ "stream": "" })).into_bytes());
    }
    let Some((name, verb)) = path
        .strip_prefix("/images/")
        .and_then(|rest| rest.rsplit_once('/'))
    else {
        return refused(404, "page not found");
    };
    let tagged = if name.rsplit('/').next().unwrap().contains(':') {
        name.to_owned()
    } else {
        format!("{name}:latest")
    };
    let id = state
        .tags
        .get(&tagged)
        .cloned()
        .unwrap_or_else(|| name.to_owned());
    let Some((config, bytes, layers)) = state.images.get(&id) else {
        return refused(404, "no such image");
    };
    let answer = match verb {
        "json" => json!({
            "Id": id,
            "Architecture": config["architecture"],
            "Os": config["os"],
            "Variant": config["variant"],
            "Author": config["author"],
            "Created": config["created"],
            "Config": config["config"],
            "RootFS": { "Type": "layers", "Layers": config["rootfs"]["diff_ids"] },
        }),
        "history" => {
            let lines = config["history"].as_array().unwrap().iter().rev();
            let lines: Vec<_> = lines
                .map(|line| json!({ "CreatedBy": line["created_by"], "Created": 315_532_801, "Comment": "" }))
                .collect();
            Value::from(lines)
        }
        _ => return (200, save(bytes, layers)),
    };
    (200, answer.to_string().into_bytes())
}

fn load(archive: &[u8], state: &mut State, manner: Manner) -> Result<(), String> {
    if manner.full {
        return Err("write /layer: no space left on device".to_owned());
    }
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let entry = &manifest[0];
    let bytes = files[entry["Config"].as_str().unwrap()].clone();
    let config: Value = serde_json::from_slice(&bytes).unwrap();
    let diff_ids: Vec<DiffId> = serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap();
    let mut layers = Vec::new();
    for (at, file) in entry["Layers"].as_array().unwrap().iter().enumerate() {
        let given = files[file.as_str().unwrap()].clone();
        let chain = &config["rootfs"]["diff_ids"].as_array().unwrap()[..=at];
        // A layer is known by all that is below it.
        let known = state.images.values().find_map(|(other, _, layers)| {
            let own = other["rootfs"]["diff_ids"].as_array().unwrap();
            own.starts_with(chain).then(|| layers[at].clone())
        });
        let content = match known {
            Some(known) if given.is_empty() && !manner.wants_all => known,
            _ => given,
        };
        if DiffId(Digest::of(&content)) != diff_ids[at] {
            return Err(format!("layer {at} is not what it should be"));
        }
        layers.push(content);
    }
    let id = Digest::of(&bytes).to_string();
    for tag in entry["RepoTags"].as_array().unwrap() {
        state.tags.insert(tag.as_str().unwrap().to_owned(), id.clone());
    }
    state.images.insert(id, (config, bytes, layers));
    Ok(())
}

fn save(config: &[u8], layers: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    add("config.json", config);
    let names: Vec<_> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    for (name, layer) in names.iter().zip(layers) {
        add(name, layer);
    }
    let manifest = json!([{ "Config": "config.json", "RepoTags": null, "Layers": names }]);
    add("manifest.json", manifest.to_string().as_bytes());
    tar.into_inner().unwrap()
}
