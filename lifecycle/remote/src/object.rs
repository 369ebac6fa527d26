//! Objects of stores: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

use std::fmt;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use lifecycle_registry::{Pace, Secret, Web};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, MultipartUpload as _, ObjectStore, ObjectStoreExt as _, PutPayload};
use url::Url;

use crate::{Download, RemoteError};

/// Objects larger than this are put in parts of this size, or larger ones so that there are not too many.
const PART: u64 = 8 << 20;
/// The most parts that every store takes, with some left.
const MOST_PARTS: u64 = 9000;
/// How long a store may be silent.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it may take to take a part, or to put parts together.
const LONG_PATIENCE: Duration = Duration::from_mins(10);
/// The hosts of Azure's clouds.
const AZURE_HOSTS: [&str; 4] = [
    ".blob.core.windows.net",
    ".blob.core.chinacloudapi.cn",
    ".blob.core.usgovcloudapi.net",
    ".blob.core.cloudapi.de",
];

/// How stores are reached and who we are there.
#[derive(Debug, Clone, Default)]
pub struct StoreSettings {
    /// Variables as the stores' own tools know them: `AWS_*`, `S3_ENDPOINT`, `S3_FORCE_PATH_STYLE`, `GOOGLE_*`, `AZURE_*`.
    /// Others are passed over.
    pub variables: Vec<(String, Secret)>,
    /// The profile of AWS's credentials file, as its text and the profile's name. Used when `variables` has no key.
    pub profile: Option<(Secret, String)>,
}

/// An object of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    kind: Kind,
    /// The address of the bucket or container, as the store's library reads it.
    bucket: String,
    key: Key,
    shown: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    S3,
    Google,
    Azure,
}

impl Object {
    /// Reads `s3://BUCKET/KEY`, `gs://BUCKET/KEY`, `az://CONTAINER/KEY` (`azure://`), or the `https` address of a blob in one
    /// of Azure's clouds; `None` for everything else.
    pub fn parse(text: &str) -> Option<Result<Self, RemoteError>> {
        let (scheme, rest) = text.split_once("://")?;
        let kind = match scheme {
            "s3" | "s3a" => Kind::S3,
            "gs" | "gcs" => Kind::Google,
            "az" | "azure" => Kind::Azure,
            "https" => {
                let host = rest.split(['/', ':', '?']).next()?;
                AZURE_HOSTS.iter().find(|ending| host.ends_with(*ending))?;
                Kind::Azure
            }
            _ => return None,
        };
        Some(Self::of_kind(kind, text))
    }

    fn of_kind(kind: Kind, text: &str) -> Result<Self, RemoteError> {
        let shown = crate::repository::shown(text);
        let fault = |reason: &str| RemoteError::Address {
            address: shown.clone(),
            reason: reason.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| fault(&error.to_string()))?;
        if url.username() != "" || url.password().is_some() || url.query().is_some() {
            return Err(fault(
                "credentials of a store are settings and not part of an address",
            ));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| fault("it names no bucket"))?;
        let path = url.path().trim_start_matches('/');
        let (bucket, path) = match (kind, url.scheme()) {
            (Kind::S3, _) => (format!("s3://{host}"), path),
            (Kind::Google, _) => (format!("gs://{host}"), path),
            (Kind::Azure, "https") => {
                let (container, path) = path.split_once('/').unwrap_or((path, ""));
                (format!("https://{host}/{container}"), path)
            }
            (Kind::Azure, _) => (format!("az://{host}"), path),
        };
        let key = Key::from_url_path(path).map_err(|error| fault(&error.to_string()))?;
        if key.as_ref().is_empty() {
            return Err(fault("it names no object in the bucket"));
        }
        Ok(Self {
            kind,
            bucket,
            key,
            shown,
        })
    }

    fn store(
        &self,
        web: &Web,
        settings: &StoreSettings,
    ) -> Result<Box<dyn ObjectStore>, object_store::Error> {
        let connector = Connector(web.clone());
        let own = |prefix: &'static str| {
            let named = settings
                .variables
                .iter()
                .filter(move |(name, _)| name.starts_with(prefix));
            named.map(|(name, value)| (name.to_ascii_lowercase(), value.reveal()))
        };
        Ok(match self.kind {
            Kind::S3 => {
                let mut builder = AmazonS3Builder::new();
                for (name, value) in settings.profile() {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                for (name, value) in own("AWS_") {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                for (name, value) in own("S3_") {
                    builder = match name.as_str() {
                        "s3_endpoint" => builder.with_endpoint(value),
                        // Path style is what is used when nothing is said.
                        "s3_force_path_style" => {
                            builder.with_virtual_hosted_style_request(!matches!(value, "true" | "1"))
                        }
                        _ => builder,
                    };
                }
                Box::new(
                    builder
                        .with_url(&self.bucket)
                        .with_http_connector(connector)
                        .build()?,
                )
            }
            Kind::Google => {
                let mut builder = GoogleCloudStorageBuilder::new();
                for (name, value) in own("GOOGLE_") {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                Box::new(
                    builder
                        .with_url(&self.bucket)
                        .with_http_connector(connector)
                        .build()?,
                )
            }
            Kind::Azure => {
                let mut builder = MicrosoftAzureBuilder::new();
                for (name, value) in own("AZURE_") {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                Box::new(
                    builder
                        .with_url(&self.bucket)
                        .with_http_connector(connector)
                        .build()?,
                )
            }
        })
    }

    pub(crate) fn get(
        &self,
        web: &Web,
        settings: &StoreSettings,
        limit: u64,
        into: &mut fs::File,
    ) -> Result<Download, RemoteError> {
        let failed = |cause| self.failed("get", cause);
        let unwritten = || RemoteError::io("write", Path::new("the download"));
        let work = async {
            let store = self.store(web, settings).map_err(failed)?;
            let found = self
                .in_time(PATIENCE, store.get(&self.key))
                .await?
                .map_err(failed)?;
            let last_modified = found.meta.last_modified.timestamp();
            let expected = found.meta.size;
            into.set_len(0)
                .and_then(|()| into.seek(SeekFrom::Start(0)))
                .map_err(unwritten())?;
            let mut size = 0;
            let (mut chunks, mut pace) = (found.into_stream(), Pace::new(PATIENCE));
            let measure = |chunk: &Option<object_store::Result<Bytes>>| match chunk {
                Some(Ok(bytes)) => bytes.len(),
                _ => 0,
            };
            loop {
                let chunk = pace.wait(chunks.next(), measure).await;
                let Some(chunk) = chunk.ok_or_else(|| self.silent(PATIENCE))? else {
                    break;
                };
                let chunk = chunk.map_err(failed)?;
                size += chunk.len() as u64;
                if size > limit {
                    let object = self.shown.clone();
                    return Err(RemoteError::TooLarge { object, limit });
                }
                into.write_all(&chunk).map_err(unwritten())?;
            }
            if size != expected {
                return Err(failed(object_store::Error::Generic {
                    store: "store",
                    source: format!("{size} of {expected} bytes came").into(),
                }));
            }
            into.seek(SeekFrom::Start(0)).map_err(unwritten())?;
            Ok(Download {
                size,
                last_modified: Some(last_modified),
            })
        };
        web.wait(work)?
    }

    pub(crate) fn put(
        &self,
        web: &Web,
        settings: &StoreSettings,
        from: &fs::File,
    ) -> Result<(), RemoteError> {
        let failed = |cause| self.failed("put", cause);
        let unread = || RemoteError::io("read", Path::new("what is to be sent"));
        let size = from.metadata().map_err(unread())?.len();
        let part = PART.max(size.div_ceil(MOST_PARTS));
        let read = |offset: u64| {
            let length = usize::try_from(part.min(size - offset)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; length];
            from.read_exact_at(&mut bytes, offset).map_err(unread())?;
            Ok::<_, RemoteError>(PutPayload::from(Bytes::from(bytes)))
        };
        let work = async {
            let store = self.store(web, settings).map_err(failed)?;
            if size <= part {
                let put = store.put(&self.key, read(0)?);
                self.in_time(LONG_PATIENCE, put).await?.map_err(failed)?;
                return Ok(());
            }
            let begin = store.put_multipart(&self.key);
            let mut upload = self.in_time(PATIENCE, begin).await?.map_err(failed)?;
            let send = async {
                let mut offset = 0;
                while offset < size {
                    // Two at a time: one is read while the other is sent.
                    let mut parts = vec![upload.put_part(read(offset)?)];
                    if offset + part < size {
                        parts.push(upload.put_part(read(offset + part)?));
                    }
                    offset += part * parts.len() as u64;
                    let sent = futures_util::future::try_join_all(parts);
                    self.in_time(LONG_PATIENCE, sent).await?.map_err(failed)?;
                }
                self.in_time(LONG_PATIENCE, upload.complete())
                    .await?
                    .map_err(failed)
            };
            let sent = send.await;
            if sent.is_err() {
                // What was sent so far would be paid for. That it cannot be taken back is not what went wrong.
                drop(self.in_time(PATIENCE, upload.abort()).await);
            }
            sent.map(drop)
        };
        web.wait(work)?
    }

    async fn in_time<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Result<T, RemoteError> {
        let done = tokio::time::timeout(patience, work).await;
        done.map_err(|_| self.silent(patience))
    }

    fn silent(&self, patience: Duration) -> RemoteError {
        RemoteError::Silent {
            object: self.shown.clone(),
            seconds: patience.as_secs(),
        }
    }

    fn failed(&self, what: &'static str, cause: object_store::Error) -> RemoteError {
        RemoteError::Store {
            what,
            object: self.shown.clone(),
            cause,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl StoreSettings {
    /// What the credentials file says of the profile, unless a variable says who we are.
    fn profile(&self) -> Vec<(String, String)> {
        const OWN: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"];
        let Some((text, profile)) = &self.profile else {
            return Vec::new();
        };
        if self
            .variables
            .iter()
            .any(|(name, _)| OWN.contains(&name.as_str()))
        {
            return Vec::new();
        }
        let mut is_in_profile = false;
        let mut found = Vec::new();
        for line in text.reveal().lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                is_in_profile = name.trim() == profile;
            } else if let Some((name, value)) = line.split_once('=').filter(|_| is_in_profile) {
                found.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        found
    }
}

/// Gives the store's library our HTTP client, with our proxies, authorities and resolver.
#[derive(Debug)]
struct Connector(Web);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(self.0.clone())))
    }
}

#[derive(Debug)]
struct Service(Web);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = Url::parse(&request.uri().to_string());
        let url = url.map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
        let client = self.0.client(&url);
        let client = client.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        HttpService::call(&client, request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, String) {
        let object = Object::parse(text).unwrap().unwrap();
        (object.bucket, object.key.to_string())
    }

    #[test]
    fn addresses_of_objects_sb_06() {
        for (text, bucket, key) in [
            ("s3://b/a/slug.tgz", "s3://b", "a/slug.tgz"),
            ("gs://b/k", "gs://b", "k"),
            ("az://c/a%20b", "az://c", "a b"),
            (
                "https://acct.blob.core.windows.net/c/a/b.tgz",
                "https://acct.blob.core.windows.net/c",
                "a/b.tgz",
            ),
        ] {
            assert_eq!(parse(text), (bucket.to_owned(), key.to_owned()), "{text}");
        }
        for text in [
            "https://h.test/x",
            "https://blob.core.windows.net.evil.test/c/k",
            "file:///x",
            "/x",
        ] {
            assert!(Object::parse(text).is_none(), "{text}");
        }
        for text in ["s3://b", "s3:///k", "s3://user:secret@b/k", "gs://b/k?x=1"] {
            let refused = Object::parse(text).unwrap();
            assert!(
                refused
                    .as_ref()
                    .is_err_and(|error| !error.to_string().contains("secret")),
                "{text} {refused:?}"
            );
        }
    }

    #[test]
    fn the_profile_of_a_credentials_file_is_used_unless_a_variable_says_who_we_are() {
        let text =
            "[default]\naws_access_key_id = a\n[ci]\naws_access_key_id=b\n aws_secret_access_key = c=\n";
        let mut settings = StoreSettings {
            profile: Some((Secret::new(text), "ci".to_owned())),
            ..StoreSettings::default()
        };
        let expected = [("aws_access_key_id", "b"), ("aws_secret_access_key", "c=")];
        assert_eq!(
            settings.profile(),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        settings
            .variables
            .push(("AWS_ACCESS_KEY_ID".into(), Secret::new("x")));
        assert_eq!(settings.profile(), []);
    }
}
