//! A cart.

use core::{fmt, time::Duration};
use std::{collections::BTreeMap, sync::Arc};

use holocron::{Context, EffectId, Failed, Retry};
use serde::{Deserialize, Serialize};

use crate::{
    payments::Payments,
    stock::{Stock, StockCommand},
};

/// How long a cart lives that nobody touches.
pub(crate) const EXPIRY: Duration = Duration::from_secs(2);

/// What a customer wants to buy.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Cart {
    items: BTreeMap<String, u32>,
    progress: Progress,
    /// Items whose reservation isn't answered yet.
    waiting: u32,
    /// Items that are reserved.
    reserved: BTreeMap<String, u32>,
    /// The receipt of the payment service.
    receipt: Option<String>,
}

/// How far a cart has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Progress {
    #[default]
    Open,
    Reserving,
    Paying,
    Paid,
    /// There was not enough of something; what was reserved went back.
    Refused,
}

/// Why a cart refuses a command.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CartError {
    /// It was checked out already.
    Closed,
    /// There is nothing in it.
    Empty,
}

impl fmt::Display for CartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the cart was checked out already",
            Self::Empty => "the cart is empty",
        })
    }
}

#[holocron::vnode(kind = "cart", env = Arc<Payments>)]
impl Cart {
    /// Puts so many into the cart; returns how many of them are in it.
    #[command]
    pub(crate) fn add(
        &mut self,
        context: &mut Context<'_, Self>,
        sku: &str,
        n: u32,
    ) -> Result<u32, CartError> {
        if self.progress != Progress::Open {
            return Err(CartError::Closed);
        }
        // The timer of this name is set anew each time.
        context.after("expire", EXPIRY, CartCommand::expire());
        let have = self.items.entry(sku.to_owned()).or_default();
        *have += n;
        Ok(*have)
    }

    /// Nobody has touched the cart for a while.
    #[command]
    pub(crate) fn expire(&mut self, context: &mut Context<'_, Self>) {
        if self.progress == Progress::Open {
            context.delete();
        }
    }

    /// Begins to buy what is in the cart.
    #[command]
    pub(crate) fn checkout(&mut self, context: &mut Context<'_, Self>) -> Result<(), CartError> {
        if self.progress != Progress::Open {
            return Err(CartError::Closed);
        }
        if self.items.is_empty() {
            return Err(CartError::Empty);
        }
        for (sku, &n) in &self.items {
            context.ask::<Stock>(sku, StockCommand::reserve(n), "reserved");
            self.waiting += 1;
        }
        self.progress = Progress::Reserving;
        Ok(())
    }

    /// An item was reserved, or there isn't enough of it.
    #[finished("reserved")]
    pub(crate) fn reserved(
        &mut self,
        context: &mut Context<'_, Self>,
        outcome: Result<Option<(String, u32)>, Failed>,
    ) {
        if let Ok(Some((sku, n))) = outcome {
            self.reserved.insert(sku, n);
        }
        self.waiting -= 1;
        if self.waiting > 0 {
            return;
        }
        if self.reserved.len() < self.items.len() {
            for (sku, n) in core::mem::take(&mut self.reserved) {
                context.send::<Stock>(&sku, StockCommand::give_back(n));
            }
            self.progress = Progress::Refused;
        } else {
            context.charge(self.pieces());
            self.progress = Progress::Paying;
        }
    }

    /// Charges the customer. The service knows the id, so that it charges once, however often it is asked.
    #[effect]
    pub(crate) async fn charge(
        payments: &Arc<Payments>,
        id: EffectId,
        pieces: u32,
    ) -> Result<String, Retry> {
        payments.charge(id, pieces).await.map_err(Retry::because)
    }

    /// The customer has paid.
    #[finished(charge)]
    pub(crate) fn charged(&mut self, receipt: Result<String, Failed>) {
        self.receipt = receipt.ok();
        self.progress = Progress::Paid;
    }

    /// How far it has come, and how many pieces are in it.
    #[query]
    pub(crate) fn progress(&self) -> (Progress, u32) {
        (self.progress, self.pieces())
    }

    fn pieces(&self) -> u32 {
        self.items.values().sum()
    }
}
