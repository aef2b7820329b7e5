//! A payment service as services are: slow at times, out of order at times, and it knows idempotency keys.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use holocron::EffectId;

/// The service. It lives outside the cluster.
#[derive(Debug, Default)]
pub(crate) struct Payments(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    calls: u64,
    charged: BTreeMap<EffectId, u32>,
}

/// It can't answer now.
#[derive(Debug, thiserror::Error)]
#[error("the payment service is overloaded")]
pub(crate) struct Overloaded;

impl Payments {
    /// Charges a customer once per id, and returns the receipt.
    pub(crate) async fn charge(&self, id: EffectId, pieces: u32) -> Result<String, Overloaded> {
        let call = {
            let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            books.calls += 1;
            books.calls
        };
        tokio::time::sleep(Duration::from_millis(call % 7 * 5)).await;
        if call % 5 == 0 {
            return Err(Overloaded);
        }
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        books.charged.insert(id, pieces);
        Ok(format!("receipt {id}"))
    }

    /// How many customers were charged.
    pub(crate) fn charges(&self) -> u32 {
        let books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(books.charged.len()).unwrap_or(u32::MAX)
    }
}
