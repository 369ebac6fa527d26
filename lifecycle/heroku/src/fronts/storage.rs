//! The object store of slugbuilder and slugrunner: `BUILDER_STORAGE`, and files with its credentials (platforms.md 2.5).

use std::path::Path;

use fs_err as fs;

use super::Variables;
use crate::HerokuError;

/// Where the platform mounts the store's credentials.
pub const CREDENTIALS: &str = "/var/run/secrets/deis/objectstore/creds";

/// A store, its bucket, and what its own tools would be told by variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// `s3`, `gs` or `az`.
    scheme: &'static str,
    bucket: String,
    settings: Vec<(String, String)>,
}

impl Storage {
    /// Reads `BUILDER_STORAGE` and the files of `credentials`; nothing without that variable.
    ///
    /// # Errors
    /// When the kind of store is not known, or nothing says which bucket it is.
    pub fn read(variables: &Variables, credentials: &Path) -> Result<Option<Self>, HerokuError> {
        let Some(kind) = variables.text("BUILDER_STORAGE") else {
            return Ok(None);
        };
        let read = |name: &str| {
            let text = fs::read_to_string(credentials.join(name)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        // A variable, the file that has it, in the words of the store.
        let (scheme, bucket, names): (_, _, &[(&str, &str)]) = match kind.as_str() {
            "s3" | "minio" => (
                "s3",
                "builder-bucket",
                &[
                    ("AWS_ACCESS_KEY_ID", "accesskey"),
                    ("AWS_SECRET_ACCESS_KEY", "secretkey"),
                    ("AWS_REGION", "region"),
                    ("S3_ENDPOINT", "endpoint"),
                ],
            ),
            "gcs" => (
                "gs",
                "builder-bucket",
                &[("GOOGLE_SERVICE_ACCOUNT_KEY", "key.json")],
            ),
            "azure" => (
                "az",
                "builder-container",
                &[
                    ("AZURE_STORAGE_ACCOUNT_NAME", "accountname"),
                    ("AZURE_STORAGE_ACCESS_KEY", "accountkey"),
                ],
            ),
            other => {
                return Err(HerokuError::Unsupported {
                    what: format!("BUILDER_STORAGE={other}"),
                    reason: "the stores that are known here are s3, minio, gcs and azure".to_owned(),
                });
            }
        };
        let bucket = read(bucket).ok_or_else(|| HerokuError::Unsupported {
            what: format!("BUILDER_STORAGE={kind}"),
            reason: format!(
                "{} does not say which bucket it is",
                credentials.join(bucket).display()
            ),
        })?;
        let found = names
            .iter()
            .filter_map(|(name, file)| Some(((*name).to_owned(), read(file)?)));
        let mut settings: Vec<(String, String)> = found.collect();
        if kind == "minio"
            && let Some(host) = variables.text("DEIS_MINIO_SERVICE_HOST")
        {
            let port = variables
                .text("DEIS_MINIO_SERVICE_PORT")
                .unwrap_or_else(|| "9000".to_owned());
            settings.push(("S3_ENDPOINT".to_owned(), format!("http://{host}:{port}")));
        }
        Ok(Some(Self {
            scheme,
            bucket,
            settings,
        }))
    }

    /// The variables that the store's own tools would read.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// The address of what a key or the beginning of one names; an address stays what it is.
    fn address(&self, key: &str) -> String {
        if key.contains("://") {
            return key.to_owned();
        }
        format!(
            "{}://{}/{}",
            self.scheme,
            self.bucket,
            key.trim_start_matches('/')
        )
    }
}

impl Variables {
    /// Lets the variables that hold keys of the store hold addresses.
    #[must_use]
    pub fn with_storage(mut self, storage: Option<&Storage>) -> Self {
        let Some(storage) = storage else { return self };
        for name in ["TAR_PATH", "PUT_PATH", "CACHE_PATH", "SLUG_URL"] {
            if let Some(key) = self.text(name) {
                self.0.insert(name.to_owned(), storage.address(&key).into());
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, files: &[(&str, &str)]) -> Result<Option<Storage>, HerokuError> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let pairs = [("BUILDER_STORAGE", kind), ("DEIS_MINIO_SERVICE_HOST", "10.0.0.1")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.into()));
        Storage::read(&Variables::new(pairs), directory.path())
    }

    #[test]
    fn every_kind_of_store_has_its_credentials_in_files_sb_06() {
        assert_eq!(read("", &[]).unwrap(), None);
        let s3 = [
            ("builder-bucket", "b\n"),
            ("accesskey", "a\n"),
            ("secretkey", "s"),
            ("region", "r"),
        ];
        let storage = read("s3", &s3).unwrap().unwrap();
        assert_eq!(storage.address("home/x:git/tar"), "s3://b/home/x:git/tar");
        assert_eq!(storage.address("https://h/x"), "https://h/x");
        assert_eq!(storage.settings.len(), 3);
        let minio = read("minio", &s3).unwrap().unwrap();
        let endpoint = ("S3_ENDPOINT".to_owned(), "http://10.0.0.1:9000".to_owned());
        assert!(minio.settings().contains(&endpoint));
        let gcs = read("gcs", &[("builder-bucket", "b"), ("key.json", "{}")])
            .unwrap()
            .unwrap();
        assert_eq!(gcs.address("/k"), "gs://b/k");
        let azure = [
            ("builder-container", "c"),
            ("accountname", "n"),
            ("accountkey", "k"),
        ];
        assert_eq!(read("azure", &azure).unwrap().unwrap().address("k"), "az://c/k");
        assert!(
            read("s3", &[])
                .unwrap_err()
                .to_string()
                .contains("builder-bucket")
        );
        assert!(
            read("swift", &[])
                .unwrap_err()
                .to_string()
                .contains("BUILDER_STORAGE=swift")
        );
        let variables = [("TAR_PATH", "k"), ("PUT_PATH", "file:///p")];
        let variables = Variables::new(variables.map(|(name, value)| (name.to_owned(), value.into())));
        let variables = variables.with_storage(Some(&storage));
        assert_eq!(variables.text("TAR_PATH").as_deref(), Some("s3://b/k"));
        assert_eq!(variables.text("PUT_PATH").as_deref(), Some("file:///p"));
    }
}
