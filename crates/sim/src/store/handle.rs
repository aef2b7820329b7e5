//! The store's handle for one node: the host's `Store`.

use core::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use holocron_store::{Error, Listed, Store};

use super::{Answer, Shelf, Verb};

/// The store, for one node.
#[derive(Clone, Debug)]
pub struct SimStore {
    pub(super) shelf: Shelf,
    pub(super) node: String,
}

impl SimStore {
    async fn ask(&self, verb: Verb) -> Result<Answer, Error> {
        let key = verb.key().to_owned();
        let answer = self.shelf.state().ask(&self.node, verb);
        answer
            .await
            .unwrap_or_else(|_| Err(Error::Unclear { key, source: "the world ended".into() }))
    }
}

#[async_trait]
impl Store for SimStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.ask(Verb::Create(key.to_owned(), body)).await.map(drop)
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.ask(Verb::Put(key.to_owned(), body)).await.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        got(self.ask(Verb::Get(key.to_owned())).await?)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        got(self.ask(Verb::GetRange(key.to_owned(), range)).await?)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        match self.ask(Verb::List(prefix.to_owned())).await? {
            Answer::Listed(listed) => Ok(listed),
            Answer::Done | Answer::Got(_) => unreachable!("a list answers with a list"),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.ask(Verb::Delete(key.to_owned())).await.map(drop)
    }
}

fn got(answer: Answer) -> Result<Option<Bytes>, Error> {
    match answer {
        Answer::Got(found) => Ok(found),
        Answer::Done | Answer::Listed(_) => unreachable!("a get answers with bytes or nothing"),
    }
}
