//! What docs/http.md shows is what happens.

use std::process::Command;

use holocron::{Context, Host, Vnode};
use holocron_gateway::{Gateway, ServeSettings, register, serve};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::support::{SOON, folder, get};

/// The counter of the command line, by hand.
#[derive(Default, Serialize, Deserialize)]
struct Counter(i64);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Add {
    Add(i64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Read {
    Value,
}

impl Vnode for Counter {
    const KIND: &'static str = "counter";
    type Command = Add;
    type Reply = i64;
    type Query = Read;
    type Answer = i64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, Add::Add(amount): Add) -> i64 {
        self.0 += amount;
        self.0
    }

    fn query(&self, _: &Context<'_, Self>, Read::Value: Read) -> i64 {
        self.0
    }
}

/// The map of the command line, as far as the page uses it.
#[derive(Default, Serialize, Deserialize)]
struct Kv(std::collections::BTreeMap<String, String>);

#[derive(Serialize)]
struct Change {
    done: bool,
    before: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Put {
    Put { field: String, value: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Get {
    Get { field: String },
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Found {
    Value(Option<String>),
}

impl Vnode for Kv {
    const KIND: &'static str = "kv";
    type Command = Put;
    type Reply = Change;
    type Query = Get;
    type Answer = Found;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, Put::Put { field, value }: Put) -> Change {
        Change { done: true, before: self.0.insert(field, value) }
    }

    fn query(&self, _: &Context<'_, Self>, Get::Get { field }: Get) -> Found {
        Found::Value(self.0.get(&field).cloned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_with_curl_say_what_the_page_says() {
    let folder = folder();
    let url = format!("file://{}", folder.path().display());
    let host =
        register(Host::builder(&url).vnode::<Counter>().vnode::<Kv>()).start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let gateway = Gateway::of_host(&host).build();
    tokio::spawn(serve(listener, gateway, ServeSettings::default(), std::future::pending()));
    tokio::time::timeout(SOON, async {
        while get(to, "/readyz").await.status != 200 {
            tokio::time::sleep(core::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let page = include_str!("../../../../docs/http.md");
    let block = page.split("<!-- curl: begin -->").nth(1).unwrap();
    let block = block.split("<!-- curl: end -->").next().unwrap();
    let mut lines = block.lines().skip_while(|line| !line.starts_with("curl")).peekable();
    let mut run = 0;
    while let Some(line) = lines.next().filter(|line| line.starts_with("curl")) {
        let expected = lines.next().unwrap().trim_start_matches('#').trim();
        let said = tokio::task::spawn_blocking(move || {
            let mut shell = Command::new("sh");
            let gateway = format!("http://{to}");
            shell.args(["-c", &line.replacen("curl", "curl -s", 1)]).env("GATEWAY", gateway);
            String::from_utf8(shell.output().unwrap().stdout).unwrap()
        })
        .await
        .unwrap();
        assert_eq!(said, expected, "{line}");
        run += 1;
    }
    assert!(run >= 9, "{run} commands were found");
}
