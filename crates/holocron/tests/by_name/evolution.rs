//! What happens to stored states when their type changes: works, or is refused by name; never misread. Writes the table of
//! `docs/evolution.md`.

use core::fmt::Debug;
use std::{fmt::Write as _, sync::Arc};

use holocron::{
    CallError, Codec, Context, Host, OldState, Settings, StartError, Unavailable, Vnode,
};
use holocron_store::{Memory, Store};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The state as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cart {
    count: u32,
    name: String,
    paid: Payment,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Payment {
    Open,
    Card(u32),
    Cash,
}

impl Default for Cart {
    fn default() -> Self {
        Self { count: 2, name: "tea".into(), paid: Payment::Cash }
    }
}

/// A later type of the state.
trait Later: Default + Serialize + DeserializeOwned + Send + 'static {
    fn from_cart(cart: Cart) -> Self;
    /// What is left of count, name and payment.
    fn told(&self) -> String;
}

/// What the stored state says.
const STORED: &str = "2 tea Cash";

fn told(count: impl Debug, name: &str, paid: impl Debug) -> String {
    format!("{count:?} {name} {paid:?}")
}

impl Later for Cart {
    fn from_cart(cart: Cart) -> Self {
        cart
    }

    fn told(&self) -> String {
        told(self.count, &self.name, &self.paid)
    }
}

/// A later type of the state: its fields, how it is made from a `Cart`, and what it says.
macro_rules! later {
    ($later:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)+ } $cart:ident => $made:expr, $this:ident => $told:expr) => {
        #[derive(Debug, Serialize, Deserialize)]
        struct $later { $($(#[$attribute])* $field: $type,)+ }

        impl Default for $later {
            fn default() -> Self {
                Self::from_cart(Cart { count: 0, name: "".into(), paid: Payment::Open })
            }
        }

        impl Later for $later {
            fn from_cart($cart: Cart) -> Self {
                $made
            }

            fn told(&self) -> String {
                let $this = self;
                $told
            }
        }
    };
}

later!(Renamed { count: u32, name: String, paid: Payment, }
    cart => Self { count: cart.count, name: cart.name, paid: cart.paid },
    this => told(this.count, &this.name, &this.paid));

#[derive(Debug, Serialize, Deserialize)]
struct Count(u32);

later!(Wrapped { count: Count, name: String, paid: Payment, }
    cart => Self { count: Count(cart.count), name: cart.name, paid: cart.paid },
    this => told(this.count.0, &this.name, &this.paid));

later!(Added { count: u32, #[serde(default)] note: String, name: String, paid: Payment, }
    cart => Self { count: cart.count, note: String::new(), name: cart.name, paid: cart.paid },
    this => { assert_eq!(this.note, ""); told(this.count, &this.name, &this.paid) });

later!(AddedWithoutDefault { count: u32, name: String, paid: Payment, note: String, }
    cart => Self { count: cart.count, name: cart.name, paid: cart.paid, note: String::new() },
    this => { assert_eq!(this.note, ""); told(this.count, &this.name, &this.paid) });

later!(Removed { name: String, paid: Payment, }
    cart => Self { name: cart.name, paid: cart.paid },
    this => told(2, &this.name, &this.paid));

later!(Reordered { name: String, count: u32, paid: Payment, }
    cart => Self { count: cart.count, name: cart.name, paid: cart.paid },
    this => told(this.count, &this.name, &this.paid));

later!(Retyped { count: u64, name: String, paid: Payment, }
    cart => Self { count: cart.count.into(), name: cart.name, paid: cart.paid },
    this => told(this.count, &this.name, &this.paid));

later!(FieldRenamed { #[serde(default)] amount: u32, name: String, paid: Payment, }
    cart => Self { amount: cart.count, name: cart.name, paid: cart.paid },
    this => told(this.amount, &this.name, &this.paid));

later!(AliasedField { #[serde(default, alias = "count")] amount: u32, name: String, paid: Payment, }
    cart => Self { amount: cart.count, name: cart.name, paid: cart.paid },
    this => told(this.amount, &this.name, &this.paid));

/// A payment with other variants.
macro_rules! payment {
    ($payment:ident { $($variant:ident $(($type:ty))?,)+ } $($pattern:pat => $made:expr,)+) => {
        #[derive(Debug, Serialize, Deserialize)]
        enum $payment { $($variant $(($type))?,)+ }

        impl From<Payment> for $payment {
            fn from(paid: Payment) -> Self {
                match paid { $($pattern => $made,)+ }
            }
        }
    };
}

payment!(WithCheque { Open, Cheque(u32), Card(u32), Cash, }
    Payment::Open => Self::Open, Payment::Card(of) => Self::Card(of), Payment::Cash => Self::Cash,);
payment!(WithChequeLast { Open, Card(u32), Cash, Cheque(u32), }
    Payment::Open => Self::Open, Payment::Card(of) => Self::Card(of), Payment::Cash => Self::Cash,);
payment!(WithoutCard { Open, Cash, }
    Payment::Open | Payment::Card(_) => Self::Open, Payment::Cash => Self::Cash,);

later!(VariantInTheMiddle { count: u32, name: String, paid: WithCheque, }
    cart => Self { count: cart.count, name: cart.name, paid: cart.paid.into() },
    this => told(this.count, &this.name, &this.paid));
later!(VariantAtTheEnd { count: u32, name: String, paid: WithChequeLast, }
    cart => Self { count: cart.count, name: cart.name, paid: cart.paid.into() },
    this => told(this.count, &this.name, &this.paid));
later!(VariantRemoved { count: u32, name: String, paid: WithoutCard, }
    cart => Self { count: cart.count, name: cart.name, paid: cart.paid.into() },
    this => told(this.count, &this.name, &this.paid));

/// A kind with that state. Its number says its version, its codec and whether it migrates.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
struct Kept<S: Later, const HOW: u32>(S);

const NAMED: u32 = 1;
const RAISED: u32 = 2;
const MIGRATES: u32 = 4;

impl<S: Later, const HOW: u32> Vnode for Kept<S, HOW> {
    const KIND: &'static str = "cart";
    const VERSION: u32 = if HOW & RAISED == 0 { 1 } else { 2 };
    const CODEC: Codec = if HOW & NAMED == 0 { Codec::Bincode } else { Codec::MessagePack };
    type Command = ();
    type Reply = ();
    type Query = ();
    type Answer = String;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, (): ()) {
        self.0 = S::from_cart(Cart::default());
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> String {
        self.0.told()
    }

    fn migrate(old: OldState<'_>) -> Result<Self, String> {
        match old.version() {
            1 if HOW & MIGRATES != 0 => Ok(Self(S::from_cart(old.read()?))),
            _ => Err(old.unknown()),
        }
    }
}

async fn start<V: Vnode>(store: &Arc<dyn Store>) -> Result<Host, StartError> {
    let settings = Settings { slots: 1, ..Settings::default() };
    let builder = Host::builder("memory://").name("h1").store(Arc::clone(store));
    builder.settings(settings).vnode::<V>().start().await
}

/// Stores a state as one type, and reads it as another.
async fn read_as<Old: Vnode<Command = ()>, New: Vnode<Query = (), Answer = String>>() -> String
where
    Old::Reply: DeserializeOwned,
{
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let host = start::<Old>(&store).await.unwrap();
    host.client().get::<Old>("alice").command(()).await.unwrap();
    host.leave().await;
    let host = match start::<New>(&store).await {
        Ok(host) => host,
        Err(error) => {
            let sentence = error.to_string();
            let (_, rest) = sentence.split_once("than this program has: ").expect(&sentence);
            let (differences, _) = rest.split_once(". Stored states").expect(&sentence);
            return format!("host refuses to start: {differences}");
        }
    };
    let said = match host.client().get::<New>("alice").query(()).await {
        Ok(answer) => {
            if answer == STORED {
                "works".to_owned()
            } else {
                format!("MISREAD: {answer}")
            }
        }
        Err(CallError::Unavailable { reason: Unavailable::Unreadable, why }) => {
            format!("call refused: {why}")
        }
        Err(error) => panic!("{error:?}"),
    };
    host.stop().await;
    said
}

async fn row<S: Later>(change: &str, table: &mut String) {
    type Plain = Kept<Cart, 0>;
    type Named = Kept<Cart, NAMED>;
    for (codec, cells) in [
        (
            "bincode",
            [
                read_as::<Plain, Kept<S, 0>>().await,
                read_as::<Plain, Kept<S, RAISED>>().await,
                read_as::<Plain, Kept<S, { RAISED | MIGRATES }>>().await,
            ],
        ),
        (
            "MessagePack",
            [
                read_as::<Named, Kept<S, NAMED>>().await,
                read_as::<Named, Kept<S, { NAMED | RAISED }>>().await,
                read_as::<Named, Kept<S, { NAMED | RAISED | MIGRATES }>>().await,
            ],
        ),
    ] {
        assert!(cells.iter().all(|cell| !cell.contains("MISREAD")), "{change}: {cells:?}");
        let [same, raised, migrated] = cells;
        assert_eq!(migrated, "works", "{change}: a migration reads every old state");
        writeln!(table, "| {change} | {codec} | {same} | {raised} | {migrated} |").unwrap();
    }
}

async fn table() -> String {
    let mut table = String::from(
        "| change | codec | same `VERSION` | `VERSION` raised, no migration | `VERSION` raised, with a migration |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    row::<Cart>("nothing", &mut table).await;
    row::<Renamed>("type renamed", &mut table).await;
    row::<Wrapped>("field wrapped (`struct Count(u32)`)", &mut table).await;
    row::<Added>("field added, with `#[serde(default)]`", &mut table).await;
    row::<AddedWithoutDefault>("field added, without a default", &mut table).await;
    row::<Removed>("field removed", &mut table).await;
    row::<Reordered>("fields reordered", &mut table).await;
    row::<Retyped>("field retyped (`u32` to `u64`)", &mut table).await;
    row::<FieldRenamed>("field renamed, with `#[serde(default)]`", &mut table).await;
    row::<AliasedField>("field renamed, with `#[serde(alias)]` too", &mut table).await;
    row::<VariantInTheMiddle>("variant added in the middle", &mut table).await;
    row::<VariantAtTheEnd>("variant added at the end", &mut table).await;
    row::<VariantRemoved>("variant removed", &mut table).await;
    table
}

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/evolution.md");
const BEGIN: &str = "<!-- evolution: begin -->\n";
const END: &str = "<!-- evolution: end -->\n";

#[tokio::test]
async fn a_state_whose_type_changes_is_read_or_refused_and_the_docs_say_which() {
    let table = table().await;
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (told, after) = rest.split_once(END).unwrap();
    if std::env::var("HOLOCRON_RECORD").is_ok() {
        return std::fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    }
    assert_eq!(told, table, "write the table again with HOLOCRON_RECORD=1, and review it");
}

/// Two numbers of one type: bincode has no way to tell them apart.
pub(crate) async fn a_reordered_state_is_not_misread() {
    let said = read_as::<Kept<Point, 0>, Kept<Turned, 0>>().await;
    assert!(said.starts_with("host refuses to start"), "not refused, but: {said}");
}

later!(Point { count: u32, more: u32, }
    cart => Self { count: cart.count, more: 7 },
    this => told((this.count, this.more), "", ()));
later!(Turned { more: u32, count: u32, }
    cart => Self { count: cart.count, more: 7 },
    this => told((this.count, this.more), "", ()));

#[tokio::test]
async fn a_codec_is_not_changed_under_one_version() {
    let said = read_as::<Kept<Cart, 0>, Kept<Cart, NAMED>>().await;
    assert_eq!(said, "host refuses to start: the codec was bincode and is MessagePack");
    // Under a new version, the old state is read in its own codec.
    let said = read_as::<Kept<Cart, 0>, Kept<Cart, { NAMED | RAISED | MIGRATES }>>().await;
    assert_eq!(said, "works");
}

/// A migration from a type that isn't the one that was stored.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Careless(Removed);

impl Vnode for Careless {
    const KIND: &'static str = "cart";
    const VERSION: u32 = 2;
    type Command = ();
    type Reply = ();
    type Query = ();
    type Answer = String;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, (): ()) {}

    fn query(&self, _: &Context<'_, Self>, (): ()) -> String {
        self.0.told()
    }

    fn migrate(old: OldState<'_>) -> Result<Self, String> {
        let Reordered { name, paid, .. } = old.read()?;
        Ok(Self(Removed { name, paid }))
    }
}

#[tokio::test]
async fn a_migration_from_a_type_that_the_version_did_not_have_is_refused_by_name() {
    let said = read_as::<Kept<Cart, 0>, Careless>().await;
    assert!(said.contains("Reordered is not the state that version 1 had"), "{said}");
    assert!(said.contains("in the order count, name, paid"), "{said}");
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_left_alone_and_read_again_by_a_newer_host() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let host = start::<Kept<Cart, RAISED>>(&store).await.unwrap();
    host.client().get::<Kept<Cart, RAISED>>("alice").command(()).await.unwrap();
    host.leave().await;
    let old = start::<Kept<Cart, 0>>(&store).await.unwrap();
    let error = old.client().get::<Kept<Cart, 0>>("alice").command(()).await.unwrap_err();
    assert!(error.to_string().contains("stored by version 2 of the kind"), "{error}");
    old.leave().await;
    let new = start::<Kept<Cart, RAISED>>(&store).await.unwrap();
    let answer = new.client().get::<Kept<Cart, RAISED>>("alice").query(()).await;
    assert_eq!(answer.as_deref(), Ok(STORED));
}
