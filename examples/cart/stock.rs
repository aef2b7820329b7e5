//! The stock of one article.

use serde::{Deserialize, Serialize};

/// How many there are.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Stock {
    left: u32,
}

#[holocron::vnode(kind = "stock")]
impl Stock {
    /// Adds new ones.
    #[command]
    pub(crate) fn fill(&mut self, n: u32) {
        self.left += n;
    }

    /// Takes so many; returns the article and the number, or nothing if there aren't enough.
    #[command]
    pub(crate) fn reserve(
        &mut self,
        context: &mut holocron::Context<'_, Self>,
        n: u32,
    ) -> Option<(String, u32)> {
        self.left = self.left.checked_sub(n)?;
        Some((context.key().to_owned(), n))
    }

    /// Takes back what was reserved and isn't bought.
    #[command]
    pub(crate) fn give_back(&mut self, n: u32) {
        self.left += n;
    }

    /// How many are left.
    #[query]
    pub(crate) fn left(&self) -> u32 {
        self.left
    }
}
