//! What a service's own tests look like: one vnode alone, and the whole shop under chaos.

use holocron::testing::TestVnode;
use holocron_testing::{Chaos, TestCluster};

use super::*;
use crate::cart::{CartCommand, CartError, CartReply, EXPIRY};

/// `cargo test` runs the tests of an example, and not the example.
#[test]
fn the_program_runs() {
    main().unwrap();
}

fn cart() -> TestVnode<Cart> {
    TestVnode::in_env("c", Arc::default(), ())
}

#[test]
fn a_cart_that_nobody_touches_expires() {
    let mut cart = cart();
    cart.command(CartCommand::add("tea", 2)).unwrap();
    cart.advance(EXPIRY / 2);
    cart.command(CartCommand::add("tea", 1)).unwrap();
    assert_eq!(cart.timers(), [("expire".to_owned(), EXPIRY)]);
    cart.advance(EXPIRY / 2);
    assert!(cart.exists());
    cart.advance(EXPIRY);
    assert!(!cart.exists());
}

#[test]
fn a_cart_that_lacks_stock_gives_back_what_it_had() {
    let mut cart = cart();
    cart.command(CartCommand::add("tea", 1)).unwrap();
    cart.command(CartCommand::add("cups", 2)).unwrap();
    cart.command(CartCommand::checkout()).unwrap();
    let [cups, tea] = &cart.sent::<Stock>()[..] else { panic!("two articles are reserved") };
    assert_eq!((&*cups.key, &*tea.key), ("cups", "tea"));
    let (cups, tea) = (cups.number, tea.number);
    cart.answer(cups, Ok(Some(("cups", 2))));
    assert_eq!(cart.effects().len(), 0, "it isn't paid before everything is reserved");
    cart.answer(tea, Ok(None::<(&str, u32)>));
    let back = cart.sent::<Stock>();
    assert_eq!((back.len(), &*back[0].key), (1, "cups"));
    assert_eq!(cart.state().progress().0, Progress::Refused);
}

#[tokio::test]
async fn a_payment_is_tried_until_it_succeeds_with_one_id() {
    let mut cart = cart();
    cart.command(CartCommand::add("tea", 1)).unwrap();
    cart.command(CartCommand::checkout()).unwrap();
    let tea = cart.sent::<Stock>()[0].number;
    cart.answer(tea, Ok(Some(("tea", 1))));
    let id = cart.effects()[0].id();
    while cart.run_effects().await == 0 {
        assert_eq!(cart.effects()[0].id(), id);
    }
    assert_eq!(cart.state().progress().0, Progress::Paid);
    assert_eq!(cart.env().charges(), 1);
}

#[test]
fn a_cart_that_was_checked_out_takes_nothing_more() {
    let mut cart = cart();
    let refused = cart.command(CartCommand::checkout()).unwrap();
    assert!(matches!(refused, CartReply::Checkout(Err(CartError::Empty))));
    cart.command(CartCommand::add("tea", 1)).unwrap();
    cart.command(CartCommand::checkout()).unwrap();
    let refused = cart.command(CartCommand::add("tea", 1)).unwrap();
    assert!(matches!(refused, CartReply::Add(Err(CartError::Closed))));
}

#[test]
fn the_books_are_right_under_any_fault() {
    let payments = Arc::<Payments>::default();
    let chaos =
        Chaos::new(move |host| host.env(Arc::clone(&payments)).vnode::<Cart>().vnode::<Stock>());
    let patient = |client: Client| client.with_deadline(Duration::from_secs(600));
    chaos.seeds(1..=4).run(
        move |client, _| async move {
            let client = patient(client);
            for sku in SKUS {
                client.get::<Stock>(sku).fill(20).await.unwrap();
            }
            for number in 0..30 {
                shop(client.clone(), number).await.unwrap();
            }
        },
        move |client| async move {
            let client = patient(client);
            let mut sold = 0;
            for number in 0..30 {
                let cart = client.get::<Cart>(&key(number));
                loop {
                    match cart.progress().await.unwrap() {
                        (Progress::Paid, pieces) => sold += pieces,
                        (Progress::Reserving | Progress::Paying, _) => {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            continue;
                        }
                        (Progress::Open | Progress::Refused, _) => {}
                    }
                    break;
                }
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            let mut left = 0;
            for sku in SKUS {
                left += client.get::<Stock>(sku).left().await.unwrap();
            }
            assert_eq!(sold + left, 80, "stock was lost or made");
        },
    );
}

#[test]
fn a_cart_expires_although_its_host_dies() {
    let equip = |host: holocron::HostBuilder| {
        host.env(Arc::<Payments>::default()).vnode::<Cart>().vnode::<Stock>()
    };
    let mut cluster = TestCluster::new(equip).hosts(2).start();
    cluster.run(|client| async move {
        client.get::<Cart>("c").add("tea", 1).await.unwrap().unwrap();
    });
    for host in ["h1", "h2"] {
        cluster.crash(host);
    }
    cluster.advance(10 * EXPIRY);
    cluster.start("h1");
    cluster.advance(Duration::from_secs(10));
    let exists = cluster.run(|client| async move { client.get::<Cart>("c").exists().await });
    assert_eq!(exists, Ok(false));
}
