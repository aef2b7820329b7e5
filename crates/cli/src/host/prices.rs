//! What the store's requests cost: for the estimate in the metrics.

use clap::Args;
use holocron_metrics::Prices;

/// The prices that differ from those of the store's kind.
#[derive(Debug, Default, Args)]
pub(super) struct PriceArguments {
    /// What a million requests to the store cost, in dollars, for the estimate in the metrics: write (creates, puts, pages of
    /// listings), read or delete. May be repeated. Default: those of S3 Standard in us-east-1 (write=5, read=0.4, delete=0) for a
    /// bucket, and nothing for a directory.
    #[arg(long = "price", value_name = "REQUESTS=DOLLARS", value_parser = price)]
    prices: Vec<Price>,
}

/// One price, in dollars per million.
#[derive(Clone, Copy, Debug)]
enum Price {
    Write(f64),
    Read(f64),
    Delete(f64),
}

impl PriceArguments {
    /// For the store at this URL.
    pub(super) fn of_store(&self, url: &str) -> Prices {
        let mut prices = Prices::of_store(url);
        for price in &self.prices {
            match *price {
                Price::Write(dollars) => prices.write = dollars,
                Price::Read(dollars) => prices.read = dollars,
                Price::Delete(dollars) => prices.delete = dollars,
            }
        }
        prices
    }
}

fn price(text: &str) -> Result<Price, String> {
    let (requests, dollars) = text.split_once('=').ok_or("use, for example, write=5.0")?;
    let of = match requests {
        "write" => Price::Write,
        "read" => Price::Read,
        "delete" => Price::Delete,
        _ => {
            return Err(format!(
                "no requests are called {requests:?}; there are: write, read, delete"
            ));
        }
    };
    match dollars.parse::<f64>() {
        Ok(dollars) if dollars.is_finite() && dollars >= 0.0 => Ok(of(dollars)),
        Ok(_) | Err(_) => Err(format!("{dollars:?} is not a price in dollars, such as 5.0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_prices_replace_those_of_the_store() {
        let arguments = PriceArguments {
            prices: vec![price("write=5.4").unwrap(), price("delete=1").unwrap()],
        };
        let s3 = Prices::S3_STANDARD;
        let expected = Prices { write: 5.4, read: s3.read, delete: 1.0 };
        assert_eq!(arguments.of_store("s3://bucket"), expected);
        assert_eq!(PriceArguments::default().of_store("s3://bucket"), s3);
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for wrong in ["write", "put=5", "read=-1", "read=NaN", "read=inf", "delete=", "=5"] {
            assert!(price(wrong).is_err(), "{wrong}");
        }
    }
}
