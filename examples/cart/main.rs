//! A shop: carts expire by a timer, a checkout reserves stock by messages and pays by an effect, and hosts die in the middle.
//!
//! What a checkout does spans a cart, several items of stock and a payment service. No transaction holds them together;
//! each step is committed with what the next one needs, so whichever host dies, the shop's books are right in the end:
//! every paid cart was charged once, and the stock that is gone is the stock that was sold.

#![expect(clippy::print_stdout, reason = "an example prints")]

mod cart;
mod payments;
mod stock;

use core::time::Duration;
use std::sync::Arc;

use holocron::{CallError, Client, Host};

use crate::{
    cart::{Cart, CartClient, Progress},
    payments::Payments,
    stock::{Stock, StockClient},
};

const CARTS: u32 = 120;
const SKUS: [&str; 4] = ["tea", "cups", "kettle", "honey"];
const IN_STOCK: u32 = 100;

async fn start(
    store: &str,
    name: &str,
    payments: &Arc<Payments>,
) -> Result<Host, holocron::StartError> {
    let builder = Host::builder(store).name(name).env(Arc::clone(payments));
    builder.vnode::<Cart>().vnode::<Stock>().start().await
}

fn key(number: u32) -> String {
    format!("cart-{number}")
}

/// A customer: fills a cart, and checks out or walks away.
async fn shop(client: Client, number: u32) -> Result<(), CallError> {
    let cart = client.get::<Cart>(&key(number));
    for item in 0..=number % 3 {
        let sku = SKUS[(number + item) as usize % SKUS.len()];
        if let Err(refused) = cart.add(sku, 1 + item).await? {
            println!("{}: {refused}", key(number));
        }
    }
    // Every fourth customer walks away: that cart expires.
    if number % 4 != 3
        && let Err(refused) = cart.checkout().await?
    {
        println!("{}: {refused}", key(number));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = format!("file://{}", folder.path().display());
    // The service is outside: it survives the hosts.
    let payments = Arc::new(Payments::default());
    let first = start(&store, "first", &payments).await?;
    let second = start(&store, "second", &payments).await?;
    let third = start(&store, "third", &payments).await?;
    let client = Client::connect(&store).await?.with_deadline(Duration::from_secs(60));
    for sku in SKUS {
        client.get::<Stock>(sku).fill(IN_STOCK).await?;
    }
    println!("{CARTS} carts; {IN_STOCK} in stock of each of {}", SKUS.join(", "));

    let customers: Vec<_> =
        (0..CARTS).map(|number| tokio::spawn(shop(client.clone(), number))).collect();
    tokio::time::sleep(Duration::from_millis(60)).await;
    // Like a crash: nothing is handed over.
    second.stop().await;
    println!("a host died while customers were paying");
    for customer in customers {
        customer.await??;
    }

    let books = settle(&client).await?;
    println!(
        "{} paid, {} refused for lack of stock, {} expired; {} charges",
        books.paid,
        books.refused,
        books.expired,
        payments.charges()
    );
    assert_eq!(books.paid, payments.charges(), "every paid cart was charged once");
    assert_eq!(books.expired, CARTS / 4, "who walked away has no cart any more");
    let all = IN_STOCK * u32::try_from(SKUS.len())?;
    let left = left(&client, all - books.sold).await?;
    println!("{} sold, {left} left of {all}", books.sold);
    assert_eq!(books.sold + left, all, "stock was lost or made");
    third.leave().await;
    first.leave().await;
    Ok(())
}

/// What became of the carts.
#[derive(Default)]
struct Books {
    paid: u32,
    refused: u32,
    expired: u32,
    sold: u32,
}

/// Waits until nothing is under way any more, and looks at every cart.
async fn settle(client: &Client) -> Result<Books, CallError> {
    let mut books = Books::default();
    for number in 0..CARTS {
        let cart = client.get::<Cart>(&key(number));
        loop {
            let (progress, pieces) = cart.progress().await?;
            match progress {
                Progress::Paid => {
                    books.paid += 1;
                    books.sold += pieces;
                }
                Progress::Refused => books.refused += 1,
                Progress::Open if pieces == 0 => books.expired += 1,
                Progress::Open | Progress::Reserving | Progress::Paying => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            }
            break;
        }
    }
    Ok(books)
}

/// What is left in stock, once it is as expected or after a minute: what refused carts had reserved goes back by messages.
async fn left(client: &Client, expected: u32) -> Result<u32, CallError> {
    let mut looks = 0;
    loop {
        let mut left = 0;
        for sku in SKUS {
            left += client.get::<Stock>(sku).left().await?;
        }
        looks += 1;
        if left == expected || looks == 1_200 {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests;
