//! What docs/http.md shows is what happens.

use std::process::Command;

use holocron::Host;
use holocron_gateway::{Gateway, ServeSettings, register, serve};
use tokio::net::TcpListener;

use crate::support::{SOON, folder, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_with_curl_say_what_the_page_says() {
    let folder = folder();
    let url = format!("file://{}", folder.path().display());
    // The kinds that the command line has.
    let host = register(holocron_kinds::register(Host::builder(&url))).start().await.unwrap();
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
        assert_eq!(without_revision(&said), without_revision(expected), "{line}");
        run += 1;
    }
    assert!(run >= 9, "{run} commands were found");
}

/// The text without the number of a revision, which is another one each time.
fn without_revision(text: &str) -> String {
    const NAME: &str = "\"revision\":";
    match text.split_once(NAME) {
        Some((before, rest)) => {
            format!(
                "{before}{NAME}{}",
                rest.trim_start_matches(|digit: char| digit.is_ascii_digit())
            )
        }
        None => text.to_owned(),
    }
}
