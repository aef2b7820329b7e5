//! What requests to the store cost.

use std::collections::BTreeMap;

use holocron_store::{Counts, Verb};

/// Prices of a store's requests, in dollars per million. Storage and traffic aren't part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// Creates, puts and pages of listings.
    pub write: f64,
    /// Gets.
    pub read: f64,
    /// Deletes.
    pub delete: f64,
}

impl Prices {
    /// S3 Standard in us-east-1: $0.005 per 1,000 puts and lists, $0.0004 per 1,000 gets, deletes free (the provider's price
    /// list, 2026).
    pub const S3_STANDARD: Self = Self { write: 5.0, read: 0.4, delete: 0.0 };
    /// A store that costs nothing per request, such as a directory.
    pub const FREE: Self = Self { write: 0.0, read: 0.0, delete: 0.0 };

    /// For the store at a URL: a directory and memory cost nothing; every bucket is taken for one of S3. Give other prices where
    /// they differ.
    #[must_use]
    pub fn of_store(url: &str) -> Self {
        let costs_nothing = ["file:", "memory:"].iter().any(|scheme| url.starts_with(scheme));
        if costs_nothing { Self::FREE } else { Self::S3_STANDARD }
    }

    /// What these requests cost, in dollars.
    #[must_use]
    pub fn of(&self, requests: &Counts) -> f64 {
        requests.iter().map(|(verb, _, tally)| tally.requests as f64 * self.each(verb)).sum()
    }

    /// What requests cost whose numbers are known by verb, as hosts tell them ([`holocron::measures::HostMeasures`]).
    #[must_use]
    pub fn of_verbs(&self, requests: &BTreeMap<String, u64>) -> f64 {
        let each = |verb: Verb| {
            let count = requests.get(&verb.to_string()).copied().unwrap_or(0);
            count as f64 * self.each(verb)
        };
        Verb::ALL.into_iter().map(each).sum()
    }

    fn each(&self, verb: Verb) -> f64 {
        let per_million = match verb {
            Verb::Create | Verb::Put | Verb::List => self.write,
            Verb::Get | Verb::GetRange => self.read,
            Verb::Delete => self.delete,
        };
        per_million / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_by_verb_cost_what_their_counts_say() {
        let requests = [("create", 2_000_000), ("get", 1_000_000), ("later", 7)];
        let requests = requests.map(|(verb, count)| (verb.to_owned(), count)).into();
        assert!((Prices::S3_STANDARD.of_verbs(&requests) - 10.4).abs() < 1e-9);
        assert!(Prices::FREE.of_verbs(&requests).abs() < 1e-9);
    }

    #[test]
    fn a_directory_costs_nothing_and_a_bucket_does() {
        for free in ["file:///tmp/h", "memory://"] {
            assert_eq!(Prices::of_store(free), Prices::FREE, "{free}");
        }
        for paid in ["s3://bucket/prefix", "gs://bucket", "az://container"] {
            assert_eq!(Prices::of_store(paid), Prices::S3_STANDARD, "{paid}");
        }
    }
}
