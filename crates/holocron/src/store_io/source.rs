//! Where the store of a host or client comes from: a URL with options, or one that is open already.

use std::sync::Arc;

use holocron_store::{OpenError, Store};

/// A store that may still have to be opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreSource {
    url: Option<String>,
    options: Vec<(String, String)>,
    opened: Option<Arc<dyn Store>>,
}

/// Whether a directory that is missing may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingDirectory {
    /// It is an error: its file system may not be mounted.
    Refused,
    /// It is made: an operator said so.
    Made,
}

impl StoreSource {
    pub(crate) fn new(url: Option<&str>) -> Self {
        Self { url: url.map(ToOwned::to_owned), ..Self::default() }
    }

    /// An option of the store; overrides the environment.
    pub(crate) fn option(&mut self, key: &str, value: &str) {
        self.options.push((key.to_owned(), value.to_owned()));
    }

    /// A store that is open already, instead of the URL.
    pub(crate) fn opened(&mut self, store: Arc<dyn Store>) {
        self.opened = Some(store);
    }

    /// Whether opening it has to do anything.
    pub(crate) fn is_to_be_opened(&self) -> bool {
        self.opened.is_none() && self.url.is_some()
    }

    /// Opens it; `None` when there is neither a URL nor an open store. May block on a directory whose mount hangs.
    pub(crate) fn open(
        self,
        missing: MissingDirectory,
    ) -> Result<Option<Arc<dyn Store>>, OpenError> {
        match (self.opened, self.url, missing) {
            (Some(store), ..) => Ok(Some(store)),
            (None, None, _) => Ok(None),
            (None, Some(url), MissingDirectory::Refused) => {
                holocron_store::open(&url, &self.options).map(Some)
            }
            (None, Some(url), MissingDirectory::Made) => {
                holocron_store::open_or_make(&url, &self.options).map(Some)
            }
        }
    }
}
