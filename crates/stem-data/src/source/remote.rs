//! Objects of S3, Google Cloud Storage, Azure and web servers, by name (`s3://bucket/log/day=*/*.parquet`): they are copied into the
//! data folder, and read from there as the files they are. An object that has not changed is copied once.

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Error, Result};

/// Whether a name stands for objects elsewhere.
pub(super) fn is_remote(name: &str) -> bool {
    name.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && !scheme.contains(['/', '*', '?', '[']))
}

/// The name below `data` under which files, folders and patterns are found; objects are copied there first.
///
/// # Errors
/// Objects that are not there, or that cannot be read or copied.
pub(super) fn local_name<'n>(name: &'n str, data: &Path) -> Result<Cow<'n, str>> {
    match is_remote(name) {
        true => copied(name, data).map(Cow::Owned),
        false => Ok(Cow::Borrowed(name)),
    }
}

#[cfg(not(feature = "object-stores"))]
fn copied(name: &str, _data: &Path) -> Result<String> {
    let what =
        "this program reads files alone: build it with the cargo feature `object-stores`, or copy the object first";
    Err(Error::Source { path: name.into(), what: what.into() })
}

#[cfg(feature = "object-stores")]
use copies::copied;

#[cfg(feature = "object-stores")]
mod copies {
    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::io::{BufWriter, Write};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime};

    use futures::{StreamExt, TryStreamExt};
    use object_store::aws::AmazonS3Builder;
    use object_store::azure::MicrosoftAzureBuilder;
    use object_store::gcp::GoogleCloudStorageBuilder;
    use object_store::http::HttpBuilder;
    use object_store::path::Path as Key;
    use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
    use stem_core::files::FileError;

    use super::super::files::{is_hidden, is_pattern};
    use super::{Error, Result};

    /// Folder of the copies, in the data folder.
    const FOLDER: &str = ".objects";
    /// Objects that are copied at the same time.
    const AT_ONCE: usize = 8;

    /// A name, taken apart.
    struct Name<'n> {
        whole: &'n str,
        scheme: &'n str,
        /// Bucket, container or host.
        bucket: &'n str,
        /// What stands behind it: a key, a folder of keys, or a pattern.
        path: &'n str,
    }

    impl<'n> Name<'n> {
        fn new(whole: &'n str) -> Self {
            let (scheme, rest) = whole.split_once("://").unwrap_or(("", whole));
            let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
            Self { whole, scheme, bucket, path: path.trim_matches('/') }
        }

        fn refused(&self, what: impl Into<String>) -> Error {
            Error::Source { path: self.whole.into(), what: what.into() }
        }

        fn unread(&self, error: impl std::fmt::Display) -> Error {
            self.refused(format!("it cannot be read: {error}"))
        }

        /// Folder of this bucket's copies, below the data folder.
        fn folder(&self) -> String {
            format!("{FOLDER}/{}/{}", self.scheme, self.bucket.replace([':', '@'], "_"))
        }

        /// What stands before the first part with a wildcard.
        fn prefix(&self) -> String {
            self.path.split('/').take_while(|part| !is_pattern(part)).collect::<Vec<_>>().join("/")
        }

        /// Whether a key is the path, lies in the folder that it is, or fits the pattern, itself or by a folder on its way. What the
        /// writers of tables hide is passed over, as on a disk.
        fn fits(&self, key: &str) -> bool {
            let Some(below) = key.strip_prefix(&self.prefix()) else { return false };
            if below.split('/').any(is_hidden) {
                return false;
            }
            let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
            let ends = key.match_indices('/').map(|(place, _)| place).chain([key.len()]);
            match glob::Pattern::new(self.path) {
                Ok(pattern) if is_pattern(self.path) => {
                    ends.into_iter().any(|end| pattern.matches_with(&key[..end], options))
                }
                _ => self.path.is_empty() || key == self.path || below.starts_with('/'),
            }
        }

        fn is_web(&self) -> bool {
            matches!(self.scheme, "http" | "https")
        }

        /// What speaks to the store, with what the environment says of keys, regions and endpoints.
        fn store(&self) -> Result<Box<dyn ObjectStore>> {
            let retry =
                RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() };
            let address = format!("{}://{}", self.scheme, self.bucket);
            let built: object_store::Result<Box<dyn ObjectStore>> = match self.scheme {
                "s3" | "s3a" => {
                    let builder = AmazonS3Builder::from_env().with_url(address).with_retry(retry);
                    builder.build().map(|store| Box::new(store) as _)
                }
                "gs" => {
                    let builder = GoogleCloudStorageBuilder::from_env().with_url(address).with_retry(retry);
                    builder.build().map(|store| Box::new(store) as _)
                }
                "az" | "azure" | "abfs" | "abfss" => {
                    let builder = MicrosoftAzureBuilder::from_env().with_url(address).with_retry(retry);
                    builder.build().map(|store| Box::new(store) as _)
                }
                "http" | "https" => {
                    let options = ClientOptions::new().with_allow_http(true);
                    let builder = HttpBuilder::new().with_url(address).with_client_options(options).with_retry(retry);
                    builder.build().map(|store| Box::new(store) as _)
                }
                scheme => {
                    return Err(self.refused(format!("\"{scheme}\" is no object store: s3, gs, az, http or https")));
                }
            };
            built.map_err(|error| self.unread(error))
        }
    }

    /// Copies what a name stands for, as far as it changed, and gives the name of the copies.
    pub(super) fn copied(whole: &str, data: &Path) -> Result<String> {
        let name = Name::new(whole);
        if name.path.split('/').any(|part| part == "..") {
            return Err(name.refused("`..` is no part of an object's name"));
        }
        if name.is_web() && is_pattern(name.path) {
            return Err(name.refused("a web server lists no files: name each of them, without `*`, `?` and `[`"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| name.unread(error))?.block_on(copy(&name, data))?;
        Ok(format!("{}/{}", name.folder(), name.path))
    }

    async fn copy(name: &Name<'_>, data: &Path) -> Result<()> {
        let store = name.store()?;
        let objects = objects(name, &*store).await?;
        if objects.is_empty() {
            return Err(name.refused("there is no such object"));
        }
        let folder = data.join(name.folder());
        let copies = objects.iter().map(|object| (object, folder.join(object.location.as_ref())));
        let copies: Vec<(&ObjectMeta, PathBuf)> = copies.collect();
        let changed = copies.iter().filter(|(object, copy)| !is_copy(object, copy));
        let mut copying = futures::stream::iter(changed.map(|(object, copy)| copy_one(name, &*store, object, copy)))
            .buffer_unordered(AT_ONCE);
        while let Some(done) = copying.next().await {
            done?;
        }
        let kept: BTreeSet<&Path> = copies.iter().map(|(_, copy)| copy.as_path()).collect();
        remove_others(name, &folder, &folder.join(name.prefix()), &kept)
    }

    async fn objects(name: &Name<'_>, store: &dyn ObjectStore) -> Result<Vec<ObjectMeta>> {
        let prefix = Key::parse(name.prefix()).map_err(|error| name.unread(error))?;
        if !is_pattern(name.path) {
            match store.head(&prefix).await {
                Ok(object) => return Ok(vec![object]),
                Err(object_store::Error::NotFound { .. }) if !name.is_web() => {} // a folder
                Err(error) => return Err(name.unread(error)),
            }
        }
        let found: Vec<ObjectMeta> =
            store.list(Some(&prefix)).try_collect().await.map_err(|error| name.unread(error))?;
        Ok(found.into_iter().filter(|object| name.fits(object.location.as_ref())).collect())
    }

    /// Whether a file is the copy of an object as it is now.
    fn is_copy(object: &ObjectMeta, copy: &Path) -> bool {
        let time = |found: &fs::Metadata| found.modified().ok();
        fs::metadata(copy).is_ok_and(|found| found.len() == object.size && time(&found) == Some(time_of(object)))
    }

    fn time_of(object: &ObjectMeta) -> SystemTime {
        SystemTime::from(object.last_modified)
    }

    /// Copies an object beside its place and puts it there when it is whole, with the time that it was changed.
    async fn copy_one(name: &Name<'_>, store: &dyn ObjectStore, object: &ObjectMeta, copy: &Path) -> Result<()> {
        if let Some(folder) = copy.parent() {
            stem_core::files::create_folder(folder)?;
        }
        let mut part = copy.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let failed = |what: &'static str| FileError::of(what, &part);
        let mut file = BufWriter::new(File::create(&part).map_err(failed("create"))?);
        let mut bytes = store.get(&object.location).await.map_err(|error| name.unread(error))?.into_stream();
        while let Some(bytes) = bytes.next().await {
            file.write_all(&bytes.map_err(|error| name.unread(error))?).map_err(failed("write"))?;
        }
        let file = file.into_inner().map_err(|error| failed("write")(error.into_error()))?;
        file.set_modified(time_of(object)).map_err(failed("write"))?;
        drop(file);
        fs::rename(&part, copy).map_err(failed("rename"))?;
        tracing::info!("{}://{}/{}: copied, {} bytes", name.scheme, name.bucket, object.location, object.size);
        Ok(())
    }

    /// Removes copies of objects that are gone.
    fn remove_others(name: &Name<'_>, folder: &Path, within: &Path, kept: &BTreeSet<&Path>) -> Result<()> {
        if !within.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(within).map_err(FileError::of("read", within))? {
            let path = entry.map_err(FileError::of("read", within))?.path();
            if path.is_dir() {
                remove_others(name, folder, &path, kept)?;
                continue;
            }
            let key = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            if name.fits(&key) && !kept.contains(path.as_path()) {
                fs::remove_file(&path).map_err(FileError::of("remove", &path))?;
            }
        }
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn keys_fit_by_themselves_by_their_folder_and_by_patterns_and_hidden_ones_do_not() {
            let fits = |name: &str, key: &str| Name::new(name).fits(key);
            assert!(fits("s3://b/log/a.csv", "log/a.csv") && !fits("s3://b/log/a.csv", "log/a.csv.gz"));
            assert!(fits("s3://b/log", "log/day=1/a.csv") && !fits("s3://b/log", "logs/a.csv"));
            assert!(fits("s3://b/log/day=*/*.csv", "log/day=1/a.csv"));
            assert!(!fits("s3://b/log/*.csv", "log/day=1/a.csv"), "a star does not cross a slash");
            assert!(fits("s3://b/log/day=*", "log/day=1/a.csv"), "a pattern may stand for folders");
            assert!(!fits("s3://b/log", "log/_SUCCESS") && !fits("s3://b/log/*/*", "log/.tmp/a.csv"));
            assert!(fits("s3://b", "a.csv"));
        }

        #[test]
        fn copies_of_two_buckets_lie_apart() {
            assert_eq!(Name::new("s3://b/log/a.csv").folder(), ".objects/s3/b");
            assert_eq!(Name::new("http://127.0.0.1:80/a.csv").folder(), ".objects/http/127.0.0.1_80");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_scheme_is_elsewhere_and_a_path_is_not() {
        assert!(is_remote("s3://bucket/a.csv") && is_remote("https://host/a.csv"));
        assert!(!is_remote("log/a.csv") && !is_remote("://a") && !is_remote("a/b://c") && !is_remote("C:/log.csv"));
    }

    #[cfg(not(feature = "object-stores"))]
    #[test]
    fn without_the_feature_the_message_names_it() {
        let message = local_name("s3://bucket/a.csv", Path::new(".")).unwrap_err().to_string();
        assert!(message.starts_with("s3://bucket/a.csv: ") && message.contains("`object-stores`"), "{message}");
    }
}
